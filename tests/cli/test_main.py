import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import escnet
from escnet.cli import main
from escnet.cli.main import run

# As its last tensors go, slowly, gloo's threads need Python, which is ending by then.
ONE_OF_SEVERAL = """
import sys
import time
import weakref
import torch
import torch.distributed
from escnet.cli.main import main

torch.distributed.init_process_group(
    "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
)
tensors = [torch.ones(1) for _ in range(500)]
seen = [weakref.ref(one, lambda _: time.sleep(0.01)) for one in tensors]
while tensors:
    torch.distributed.all_reduce(tensors.pop(), async_op=True)
sys.argv = ["escnet", *sys.argv[1:]]
main()
"""


def best_time_of(command: list[str], *, repeats: int = 5) -> float:
    """Processor seconds of the fastest run, which hardly depend on what else is running."""
    times = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def in_shell(
    command: str, folder: Path, *, unbuffered: str = ""
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m escnet {command}', sys.executable],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},  # "": output is held back
    )


def test_help_is_instant() -> None:
    assert best_time_of([sys.executable, "-m", "escnet", "--help"]) < 0.5


def test_importing_escnet_is_instant() -> None:
    bare = best_time_of([sys.executable, "-c", "pass"])
    assert best_time_of([sys.executable, "-c", "import escnet"]) - bare < 0.2


@pytest.mark.parametrize(
    "code",
    [
        "import escnet",
        "from escnet.cli.main import run; run(['--help'])",
        "from escnet.cli.main import run; run(['segment', '--help'])",
        "from escnet.cli.main import run; run(['segment', 'a.jpg', '--classes', 'a, a'])",
        "from escnet.cli.main import run; run(['weights', '--help'])",
    ],
)
def test_pytorch_is_not_imported_before_it_is_needed(code: str) -> None:
    code += "; import sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_verb_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    commands = capsys.readouterr().out.split("Commands:")[1].splitlines()
    verbs = dict(line.split(maxsplit=1) for line in commands if line.strip())
    assert {"segment", "weights"} <= set(verbs)
    assert all(sentence.endswith(".") for sentence in verbs.values())


def test_no_argument_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert capsys.readouterr().out.startswith("Usage: escnet")


def test_a_group_without_a_verb_shows_its_help_as_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["weights"]) == 2
    assert capsys.readouterr().err.startswith("Usage: escnet weights")


def test_version_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"escnet {escnet.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["--nope"],
        ["segment"],
        ["segment", "--nope"],
        ["segment", "a", "--batch-size", "x"],
        ["--two\nlines"],
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("escnet: ")
    assert err.count("\n") == 1


def test_a_reader_that_stops_early_causes_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import escnet.cli.main as m; m.main()", "weights", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("verb", "closed"),
    [
        ("--version", ">&- 2>&-"),
        ("weights list", ">&-"),
        ("weights list --json", ">&- 2>&-"),
        ("segment", ">&-"),
    ],
)
def test_a_closed_output_is_nowhere_to_print_to(tmp_path: Path, verb: str, closed: str) -> None:
    if verb == "segment":
        Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
        verb = "segment a.png --classes a --model tiny --json"
    done = in_shell(f"{verb} {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "a.json").exists() == verb.startswith("segment")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("verb", "unbuffered"),
    [
        ("--version", ""),
        ("--version", "1"),  # fails at once, as what is too long to be held back does
        ("segment a.png --classes a --model tiny --json", ""),
    ],
)
def test_a_full_output_is_told_in_one_line(tmp_path: Path, verb: str, unbuffered: str) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    done = in_shell(f"{verb} >/dev/full", tmp_path, unbuffered=unbuffered)
    assert done.stderr == (
        b"escnet: standard output cannot be written (no space left on device): send it elsewhere\n"
    )
    assert done.returncode == 2
    assert (tmp_path / "a.json").exists() == verb.startswith("segment")


def test_another_error_of_the_system_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(main, "_code_of", fail)
    with pytest.raises(OSError, match="Input/output error"):
        run(["--version"])


def test_a_name_that_the_terminal_cannot_show_causes_no_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "escnet", "segment", tmp_path / "道路\udc80.jpg", "--classes", "a"],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert b"does not exist" in done.stderr


@pytest.mark.parametrize(
    ("argument", "code", "said"),
    [
        ("--version", 0, (f"escnet {escnet.__version__}\n", "")),
        ("nope", 2, ("", "escnet: No such command 'nope'. See escnet --help.\n")),
    ],
)
def test_threads_of_gloo_leave_the_exit_code_and_what_is_said_as_they_are(
    argument: str, code: int, said: tuple[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_OF_SEVERAL, argument],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # output is held back
        text=True,
        timeout=120,
    )
    assert (done.returncode, (done.stdout, done.stderr)) == (code, said)
