"""The scripts of examples/, run as their first lines say."""

import runpy
import shlex
from pathlib import Path

import pytest
from PIL import Image

from escnet.weights.catalog import BUILT_IN_FOLDER

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (BUILT_IN_FOLDER / "config.json").exists(),
    reason="the built-in model is not in this checkout",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with the examples in it."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_as_told(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script with the arguments of the command in its docstring."""
    text = (ROOT / "examples" / script).read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if line.startswith("python "))
    words = shlex.split(command.partition(" > ")[0])[1:]
    assert words[0] == f"examples/{script}"
    monkeypatch.setattr("sys.argv", words)
    runpy.run_path(str(ROOT / words[0]), run_name="__main__")


@pytest.mark.usefixtures("folder")
def test_the_shortest_example_finds_the_cat(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_as_told("cat_or_not.py", monkeypatch)
    share = int(capsys.readouterr().out.partition("%")[0])
    assert 20 < share < 95


def test_a_thing_is_cut_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_as_told("cut_out.py", monkeypatch)
    with Image.open(folder / "cup.png") as image:
        assert image.mode == "RGBA"
        assert image.getchannel("A").getextrema() == (0, 255)


@pytest.mark.usefixtures("folder")
def test_a_table_has_a_row_for_each_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_as_told("table_of_shares.py", monkeypatch)
    rows = capsys.readouterr().out.split()
    assert rows[0] == "picture,cat,cup,person,background"
    assert [row.partition(",")[0] for row in rows[1:]] == [
        "astronaut.jpg",
        "chelsea.jpg",
        "coffee.jpg",
    ]
