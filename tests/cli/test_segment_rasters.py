import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from escnet.cli.main import run
from tests.rasters.made_rasters import PLACE, write_raster

TINY = ["--classes", "sky, car, road", "--model", "tiny", "--as", "auto"]


@pytest.fixture
def rasters(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, rng.integers(0, 256, (50, 70, 3)).astype(np.uint8))
    return tmp_path


def test_a_file_with_a_place_becomes_a_label_map_in_the_same_place(
    rasters: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = rasters / "out"
    assert run(["segment", str(rasters / "a.tif"), *TINY, "--out", str(out)]) == 0
    assert "a.tif: 70 x 50 pixels" in capsys.readouterr().out
    with rasterio.open(out / "a.labels.tif") as file:
        assert (file.crs, file.shape) == (PLACE["crs"], (50, 70))


def test_of_several_rasters_a_bad_one_does_not_stop_the_others(
    rasters: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rasters / "a.tif").write_bytes((rasters / "a.tif").read_bytes()[:4000])
    arguments = ["segment", str(rasters), *TINY, "--out", str(rasters / "out"), "--json"]
    assert run(arguments) == 1
    document = json.loads(capsys.readouterr().out)
    assert [Path(one["raster"]).name for one in document["rasters"]] == ["b.tif"]
    assert "a.tif" in document["failures"][0]["error"]
    assert run([*arguments, "--resume"]) == 1
    assert json.loads(capsys.readouterr().out)["rasters"][0]["status"] == "skipped"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bands", "red"], "--bands 'red' are no numbers of bands"),
        (["--stretch", "9"], "--stretch '9' is no range"),
        (["--format", "coco"], "format 'coco' is none of a raster's"),
        (["--min-area", "5"], "--min-area and --fill-holes need the whole label map"),
        (["--windows", "paper"], "choose native"),
        (["--as", "map"], "--as 'map' is unknown"),
    ],
)
def test_what_a_raster_cannot_have_is_told_in_one_line(
    rasters: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["segment", str(rasters / "a.tif"), *TINY, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_rasterio_the_extra_is_named_and_the_picture_can_be_read(
    rasters: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    picture = ["segment", str(rasters / "a.tif"), *TINY, "--out", str(rasters / "out")]
    assert run(picture) == 2
    assert "rasterio is not installed: pip install 'escnet[geo]'" in capsys.readouterr().err
    assert run([*picture, "--as", "picture"]) == 0
    assert (rasters / "out" / "a.labels.png").is_file()
