"""`escnet train RECIPE`: a recipe turned into a checkpoint."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escnet.training.loop import Progress

_STEPS_BETWEEN_LINES = 25


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, such as recipes/mini.toml.")],
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/run"),
    cache: Annotated[Path, typer.Option(help="Where what frozen networks say is kept.")] = Path(
        "runs/cache"
    ),
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train a network as a recipe says.

    Ctrl-C and SIGTERM let the step finish and save the state; --resume goes on from there.
    """
    from escnet.training.config import read_recipe
    from escnet.training.run import train as run
    from escnet.training.stopping import Stopped

    settings = read_recipe(recipe, override or [])
    try:
        model = run(settings, out, cache=cache, resume=resume, on_step=_say)
    except Stopped as stopped:
        print(f"escnet: {stopped}", file=sys.stderr)
        raise typer.Exit(stopped.exit_code) from None
    print(f"checkpoint: {model}")


def _say(progress: "Progress") -> None:
    if progress.step % _STEPS_BETWEEN_LINES == 0 or progress.step == progress.num_steps:
        remaining = timedelta(seconds=round(progress.remaining))
        score = "" if progress.miou is None else f", mIoU {100 * progress.miou:.1f}"
        print(
            f"{progress.phase} {progress.step}/{progress.num_steps}: "
            f"loss {progress.loss:.3f}, rate {progress.rate:.1e}{score}, {remaining} left, "
            f"{progress.waiting:.0%} waiting for data",
            flush=True,
        )
