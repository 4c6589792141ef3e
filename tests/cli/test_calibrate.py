"""`escnet calibrate`, with the tiny random model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run
from escnet.inference.calibration import Calibration


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("data/images", "data/masks"):
        Path(name).mkdir(parents=True)
    Path("data/classes.txt").write_text("cat\ndog\n", "utf-8")
    for number in range(4):
        picture = random.integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(picture).save(f"data/images/{number}.png")
        Image.fromarray(random.integers(0, 2, (24, 32), np.uint8)).save(f"data/masks/{number}.png")
    return tmp_path


def test_a_fit_is_used_by_segment_and_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--model", "tiny", "--device", "cpu"]
    assert run(["calibrate", "data", "--out", "own.json", *tiny]) == 0
    told = capsys.readouterr()
    printed = told.out
    assert "4 pictures" in printed
    assert printed.endswith("own.json\n")
    assert "warning: fitted to 4 pictures, which are few" in told.err
    calibration = Calibration.read("own.json")
    assert sum(calibration.fitted_to.values()) == 4

    by = ["--calibration", "own.json"]
    assert run(["evaluate", "data", *tiny, *by, "--pictures", "0"]) == 0
    (path,) = Path("evaluation").glob("*.json")
    result = json.loads(path.read_text())
    assert result["model"]["settings"]["calibration"] == calibration.digest
    pixels, right = (sum(result["reliability"][name]) for name in ("pixels", "right"))
    mean = sum(result["reliability"]["confidence"]) / 65536 / pixels
    assert mean == pytest.approx(right / pixels, abs=0.01)

    picture = ["segment", "data/images/0.png", "--classes", "cat, dog", *tiny, *by]
    assert run([*picture, "--format", "json,scores"]) == 0
    assert json.loads(Path("0.json").read_text())["settings"]["calibration"] == calibration.digest
    with np.load("scores/0.npz", allow_pickle=False) as file:
        assert file["names"].tolist() == ["cat", "dog"]
        assert tuple(file["size"]) == (24, 32)
        assert file["scores"].dtype == np.float16
    assert run([*picture, "--windows", "native"]) == 2
    assert "leave --calibration out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "data"], "is not the folder of model 'tiny'"),
        (["--out", "own"], "write FILE.json"),
        (["--out", "nodir/own.json"], "folder nodir does not exist"),
        (["--out", "own.json", "--most", "3"], "3 pictures with a labelled pixel"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("escnet.inference.segmenter.Segmenter.load", None)  # told before
    assert run(["calibrate", "data", "--model", "tiny", *arguments]) == 2
    assert message in capsys.readouterr().err
