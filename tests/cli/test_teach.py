"""`escnet teach`, with the tiny random model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run
from escnet.vocabulary import Vocabulary


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index in range(2):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(f"images/{index}.png")
        mask = np.full((40, 50), 255, np.uint8)
        mask[:20], mask[20:, :25] = 0, 1
        Image.fromarray(mask).save(f"masks/{index}.png")
    Path("classes.txt").write_text("valve\npipe\n", "utf-8")
    return tmp_path


ONE = ["--label", "valve", "--picture", "images/0.png", "--mask", "masks/0.png", "--value", "0"]


@pytest.mark.usefixtures("folder")
def test_a_label_is_taught_asked_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    teach = ["teach", "names.toml", "--model", "tiny"]
    assert run([*teach, *ONE]) == 0
    said = capsys.readouterr()
    assert said.out == "valve: taught by 1 picture; two or more tell how well\nnames.toml\n"
    assert said.err == "images/0.png\n"
    assert len(Vocabulary.read("names.toml").details_of("valve").taught) == 1
    assert run(["segment", "images/1.png", "--classes-file", "names.toml", "--model", "tiny"]) == 0
    assert run(["teach", "names.toml", "--forget", "valve"]) == 0
    assert capsys.readouterr().out.endswith("valve: what it was taught is forgotten\nnames.toml\n")
    assert Vocabulary.read("names.toml") == Vocabulary.of(["valve"])


@pytest.mark.usefixtures("folder")
def test_a_folder_teaches_all_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--from", ".", "--classes-file", "classes.txt", "--model", "tiny", "--json"]
    assert run(["teach", "names.toml", *options]) == 0
    lessons = json.loads(capsys.readouterr().out)["labels"]
    assert [one["label"] for one in lessons] == ["valve", "pipe"]
    for one in lessons:
        assert one["pictures"] == ["0.png", "1.png"]
        assert 0 <= one["iou_by_name"] <= 1
        assert one["is_taught"] == (one["iou_as_taught"] >= one["iou_by_name"])
    names = Vocabulary.read("names.toml")
    assert names.labels == ("valve", "pipe")
    taught = [bool(names.details_of(label).taught) for label in names.labels]
    assert taught == [one["is_taught"] for one in lessons]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to teach by: give --label LABEL with --picture and --mask, or --from FOLDER"),
        (["--from", ".", *ONE], "--from and --picture are two ways to teach: give one of them"),
        (ONE[2:], "--picture and --mask teach one label, not 0: give --label"),
        (ONE[:4], "1 picture and 0 masks were given"),
        (["--forget", "valve"], "names.toml is not there: nothing can be forgotten"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_no_model_is_loaded(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["teach", "names.toml", "--model", "/no/such/model", *options]) == 2
    assert message in capsys.readouterr().err
    assert not Path("names.toml").exists()


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_no_names_file_stays(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("classes.txt").read_bytes()
    assert run(["teach", "classes.txt", "--model", "/no/such/model", *ONE]) == 2
    assert "classes.txt is no names file and would be replaced" in capsys.readouterr().err
    assert Path("classes.txt").read_bytes() == before
