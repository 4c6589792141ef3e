import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "coffee.png"
    Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)).save(path)
    return path


def explain(picture: Path, *arguments: str) -> int:
    options = ["--model", "tiny", "--device", "cpu", "--out", str(picture.parent / "out")]
    return run(["explain", str(picture), *options, *arguments])


def numbers_of(picture: Path) -> Any:
    return json.loads((picture.parent / "out" / "coffee.explain.json").read_bytes())


def test_a_sheet_and_its_numbers_are_written(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(picture, "--class", "cup", "--classes", "table=table|desk, spoon") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[0] == f"{picture}: cup by tiny (esc-net)"
    sheet, numbers = (picture.parent / "out" / f"coffee.explain.{kind}" for kind in ("png", "json"))
    assert out.splitlines()[-2:] == [str(sheet), str(numbers)]
    with Image.open(sheet) as image:
        assert image.format == "PNG"
    found = numbers_of(picture)
    assert (found["picture"], found["class"]) == (str(picture), "cup")
    assert found["names"] == ["cup", "table", "spoon"]
    assert found["format"] == 1


@pytest.mark.parametrize("name", ["coffee.explain.png", "coffee.explain.json"])
def test_what_is_no_sheet_of_ours_is_not_replaced(
    picture: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("--model", "training-free:tiny")
    assert explain(picture, "--class", "cup", *quick) == 0
    assert explain(picture, "--class", "mug", *quick) == 0  # ours are
    (picture.parent / "out" / name).write_bytes(b"mine")
    assert explain(picture, "--class", "cup", *quick) == 2
    assert f"{name} is no result of escnet" in capsys.readouterr().err
    assert (picture.parent / "out" / name).read_bytes() == b"mine"


def test_json_is_one_document_and_the_same_as_the_file(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(picture, "--class", "mug", "--model", "training-free:tiny", "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == numbers_of(picture)
    assert json.loads(out)["names"] == ["mug", "background"]  # alone, it needs a rival


@pytest.mark.parametrize(
    ("asked", "names", "query"),
    [
        (["--class", "b", "--classes", "a, b=c, d"], ["a", "b", "d"], "c"),
        (["--class", "b=c", "--classes", "a"], ["b", "a"], "c"),
        (["--class", "b=c", "--classes", "a, b"], ["a", "b"], "c"),
        (["--class", "b=c", "--classes", "a, b=c"], ["a", "b"], "c"),
        (["--class", "b\\", "--classes", "a"], ["b\\", "a"], "b\\"),
        (
            ["--class", "x\\, y", "--classes", "a", "--background"],
            ["x, y", "a", "background"],
            "x, y",
        ),
    ],
)
def test_the_class_stands_among_the_others_once(
    picture: Path,
    asked: list[str],
    names: list[str],
    query: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert explain(picture, "--model", "training-free:tiny", "--json", *asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["names"], found["query"]) == (names, query)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], 'no class is given: pass --class "cup"'),
        (["--class", "cup, spoon"], "holds 2 class names"),
        (["--class", " "], "no class names given"),
        (["--class", "a", "--classes", "A, b"], "repeats"),
        (
            ["--class", "cup=cup|mug", "--classes", "cup=cup|cat, table"],
            "--class and --classes give 'cup' different synonyms, 'cup|mug' and 'cup|cat': write",
        ),
        (["--class", "a=a|b", "--classes", "a, b"], "repeats the query 'b'"),
        (["--class", "background"], "what the rest class is called"),
        (["--class", "a", "--max-pixels", "100"], "above the limit"),
        (["--class", "a", "--out", "/dev/null/out"], "cannot be written"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_a_model_is_loaded(
    picture: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(picture, "--model", "/no/such/model", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("escnet: ")
    assert err.count("\n") == 1
    assert message in err


def test_an_unknown_model_and_a_bad_picture_are_told_in_one_line(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(picture, "--class", "cup", "--model", "/no/such/model") == 2
    assert "'/no/such/model'" in capsys.readouterr().err
    picture.write_bytes(b"no picture")
    assert explain(picture, "--class", "cup") == 2
    assert "coffee.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["explain", "--help"], ["explain", "a.jpg"], ["compare", "--help"]]
)
def test_neither_pytorch_nor_matplotlib_is_imported_before_it_is_needed(
    arguments: list[str],
) -> None:
    code = (
        f"from escnet.cli.main import run; run({arguments}); import sys; "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
