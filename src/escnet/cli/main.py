"""`escnet`: the verbs, and what becomes of their errors.

A verb's module imports what it needs inside its handlers, so that `escnet --help` is instant.
Exit codes: 0 for success, 1 if some of many pictures failed (or for a bug of ours, with a
traceback), 2 for an error of the caller's, told in one line, and 130 after Ctrl-C.
"""

import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer

import escnet
from escnet.cli import (
    cache,
    calibrate,
    compare,
    data,
    evaluate,
    explain,
    export,
    label_studio,
    leaderboard,
    names,
    report,
    segment,
    serve,
    teach,
    train,
    weights,
)
from escnet.errors import CacheWarning, CalibrationWarning, EscnetError, NamesWarning
from escnet.extras import is_of_torch, needs_torch
from escnet.inference.machine.threads import let_idle_threads_sleep

app = typer.Typer(
    name="escnet",
    help="Segment pictures by the names of things, any names.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, because importing rich would double its time
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="segment")(segment.segment)
app.command(name="calibrate")(calibrate.calibrate)
app.command(name="compare")(compare.compare)
app.command(name="explain")(explain.explain)
app.command(name="export")(export.export)
app.command(name="evaluate")(evaluate.evaluate)
app.command(name="label-studio")(label_studio.label_studio)
app.command(name="leaderboard")(leaderboard.leaderboard)
app.command(name="report")(report.report)
app.command(name="serve")(serve.serve)
app.command(name="teach")(teach.teach)
app.command(name="train")(train.train)
app.add_typer(weights.app, name="weights")
app.add_typer(data.app, name="data")
app.add_typer(names.app, name="names")
app.add_typer(cache.app, name="cache")

# Typer brings Click along under a private name that has moved, and this base with it.
_USAGE_ERRORS = tuple(
    base
    for base in typer.BadParameter.__mro__
    if issubclass(base, Exception) and base.__name__ == "ClickException"
)

_INTERRUPTED = 130


def _show_version(is_asked: bool) -> bool:
    if is_asked:
        print(f"escnet {escnet.__version__}")
        raise typer.Exit
    return is_asked


@app.callback()
def _escnet(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line on the process's arguments and exit."""
    # closed by the caller they are None, and what is printed to None fails or goes to the other
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    let_idle_threads_sleep()
    code = run(sys.argv[1:])
    if _is_one_of_several():
        # A thread of gloo that lets go of its last tensor as Python ends aborts the process. To end
        # the group would wait for that thread, for ever if it waits for Python or for a peer.
        sys.stderr.flush()  # standard output is by now
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors of the caller's go to stderr as one line.

    Args:
        arguments: What follows `escnet` on the command line.

    Returns:
        The exit code.
    """
    try:
        with _warnings_in_one_line():
            code = _code_of(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `escnet ... | head` has read enough
        _drop_output()
        return 1
    except OSError as error:
        if not _is_output_stuck():
            raise  # a bug of ours
        _drop_output()
        reason = (error.strerror or str(error)).lower()
        return _complain(f"standard output cannot be written ({reason}): send it elsewhere")
    return code


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Tell our own warnings as errors are told, without the line of code they come from."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_ours(message: Warning | str, category: type[Warning], *args: Any) -> None:
            if issubclass(category, NamesWarning | CacheWarning | CalibrationWarning):
                print("escnet: warning:", " ".join(str(message).split()), file=sys.stderr)
            else:
                show(message, category, *args)

        warnings.simplefilter("always", NamesWarning)
        warnings.showwarning = show_ours  # type: ignore[assignment]
        yield


def _code_of(arguments: Sequence[str]) -> int:
    try:
        code = app(list(arguments) or ["--help"], prog_name="escnet", standalone_mode=False)
    except EscnetError as error:
        return _complain(error.for_command_line())
    except ModuleNotFoundError as error:
        if not is_of_torch(error.name):
            raise  # a bug of ours
        return _complain(needs_torch(f"escnet {arguments[0]}").message)
    except _USAGE_ERRORS as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # as private as the base
            print(_message(error), file=sys.stderr)
            return 2
        return _complain(f"{_message(error)} See escnet --help.")
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        _complain("interrupted")
    return code if isinstance(code, int) else 0


def _is_one_of_several() -> bool:
    """Whether the command has left this process in a group of gloo's."""
    distributed = sys.modules.get("torch.distributed")  # without PyTorch there is none
    return (
        distributed is not None
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_backend() == "gloo"
    )


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 -- open to the end


def _is_output_stuck() -> bool:
    """Whether standard output takes no further line either."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def _drop_output() -> None:
    """Let what is still held back go nowhere, or the interpreter would fail on it as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(error: BaseException) -> str:
    message = getattr(error, "format_message", lambda: str(error))()
    return str(message) if str(message).endswith((".", "?")) else f"{message}."


def _complain(message: str) -> int:
    print("escnet:", " ".join(message.split()), file=sys.stderr)
    return 2
