import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run
from escnet.inference.segmenter import Segmenter

BALLAST = 800_000_000
OURS = b"\x89PNG\r\n\x1a\n made by escnet, and not to be read"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for result in ("0.labels.png", "0.overlay.jpg", "0.explain.png", "escnet.comparison.png"):
        (folder / result).write_bytes(OURS)
    return folder


def test_sheets_and_numbers_of_a_folder_without_pytorch_in_the_command_itself(
    pictures: Path, tmp_path: Path
) -> None:
    code = (
        f"import sys; ballast = bytearray(b'x') * {BALLAST}; "  # that no model must inherit
        "from escnet.cli.main import run; code = run(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    options = ["--models", " tiny,", "--classes", "sky, $road$", "--device", "cpu", "--json"]
    (tmp_path / "out").mkdir()
    earlier = ("escnet-2.comparison.png", "escnet-3.comparison.png", "escnet-10.comparison.png")
    others = ("escnet-03.comparison.png", "escnet-3.comparison.json", "my-escnet-3.comparison.png")
    for name in (*earlier, *others):
        (tmp_path / "out" / name).write_bytes(OURS)
    own = "escnet-4.comparison.png"
    (tmp_path / "out" / own).write_bytes(b"a picture of somebody's own")
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", pictures, "--out", tmp_path / "out", *options],
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "out" / "escnet.comparison.json").read_bytes())
    assert found["format"] == 1
    assert [Path(sheet).name for sheet in found["sheets"]] == [
        "escnet.comparison.png",
        "escnet-2.comparison.png",
    ]
    sheets = [Path(sheet).name for sheet in found["sheets"]]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*sheets, "escnet.comparison.json", *others, own]
    )
    sizes = []
    for sheet in found["sheets"]:
        with Image.open(sheet) as image:
            sizes.append(image.size)
    assert sizes[0][0] == sizes[1][0]  # one width
    assert sizes[0][1] > 3 * sizes[1][1]  # ten rows, and two
    (model,) = found["models"]
    assert (model["model"], model["method"]) == ("tiny", "esc-net")
    names = [Path(entry["picture"]).name for entry in model["pictures"]]
    assert names == [f"{number}.png" for number in range(12)]  # and no earlier results
    assert all(entry["seconds"] > 0 for entry in model["pictures"])
    assert model["peak_memory"] is None or 50_000_000 < model["peak_memory"] < BALLAST
    segmenter = Segmenter.load("tiny", device="cpu")
    expected = segmenter.segment(pictures / "7.png", "sky, $road$").summary()
    assert model["pictures"][7]["names"] == expected["names"]
    assert model["weights_hash"] == segmenter.weights_hash
    assert "after one warm-up" in found["seconds_means"]
    assert "own process" in found["peak_memory_means"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "mini"], "no class names"),
        (["--classes", "a"], "no model is given: pass --models"),
        (["--classes", "a", "--models", ",,"], "no model is given"),
        (["--classes", "a", "--models", "mini,mini"], "named twice"),
        (["--classes", "a", "--models", "mini,/no/such"], "model /no/such: "),
        (["--classes", "a", "--models", "mini", "--windows", "no"], "'no' are unknown"),
        (["--classes", "a", "--models", "mini", "--max-pixels", "9"], "above the limit"),
        (["--classes", "a", "--models", "mini", "--out", "/dev/null/o"], "cannot be written"),
        (["--classes", "background", "--models", "mini", "--background"], "background"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_a_model_runs(
    pictures: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", str(pictures), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("escnet: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("name", ["escnet.comparison.png", "escnet.comparison.json"])
def test_what_is_no_sheet_of_ours_is_not_replaced(
    pictures: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"mine")
    options = ["--models", "mini", "--classes", "a", "--out", str(tmp_path)]
    assert run(["compare", str(pictures / "5.png"), *options]) == 2
    assert f"{name} is no result of escnet" in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_picture_that_cannot_be_read_stops_everything(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "5.png").write_bytes(b"no picture")
    assert run(["compare", str(pictures), "--models", "mini", "--classes", "a"]) == 2
    assert "5.png" in capsys.readouterr().err
