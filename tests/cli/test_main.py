import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import escnet
from escnet.cli.main import run


def best_time_of(command: list[str], *, repeats: int = 5) -> float:
    """Processor seconds of the fastest run, which hardly depend on what else is running."""
    times = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


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
