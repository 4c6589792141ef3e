import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from escnet.errors import ConfigError, ImageError, OutputError
from escnet.inference.jobs.parts import PartReport
from escnet.inference.label_maps.windows import NATIVE
from escnet.inference.options import SegmentOptions
from escnet.rasters import chunks
from escnet.rasters.job import RasterJob
from escnet.rasters.stretch import Stretch
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_segmenter
from tests.rasters.made_rasters import PLACE, write_header, write_raster

NAMES = Vocabulary.of(["red", "green", "blue"])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_HW", (32, 64))


@pytest.fixture
def job(tmp_path: Path, field: np.ndarray) -> RasterJob:
    path = write_raster(tmp_path / "field.tif", field)
    return RasterJob(path=path, vocabulary=NAMES, out=tmp_path / "out")


def labels_of(job: RasterJob) -> np.ndarray:
    with rasterio.open(job.files["labels"]) as file:
        return file.read(1)


def native_labels(pixels: np.ndarray) -> np.ndarray:
    options = SegmentOptions(windows=NATIVE)
    return colour_segmenter().segment_pixels(pixels, NAMES, options).label_map


def test_labels_are_those_of_native_windows_of_the_picture(
    job: RasterJob, field: np.ndarray
) -> None:
    assert job.check() == 9
    job.run(colour_segmenter())
    assert np.array_equal(labels_of(job), native_labels(field))


def test_the_result_lies_where_the_raster_lies_with_colours_names_and_overviews(
    job: RasterJob, field: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_HW", (1024, 1024))
    job = replace(job, path=write_raster(job.path, np.tile(field, (6, 1, 1))))
    job.run(colour_segmenter())
    with rasterio.open(job.files["labels"]) as file:
        assert (file.crs, file.transform) == (PLACE["crs"], PLACE["transform"])
        assert file.block_shapes == [(512, 512)]
        assert file.nodata == 255
        assert file.overviews(1) == [2]
        assert file.colormap(1)[0] == (*job.format_options.colours(NAMES.labels)[0].tolist(), 255)
        assert json.loads(file.tags()["escnet_names"]) == ["red", "green", "blue"]
    names = job.files["labels"].with_name("field.labels.tif.aux.xml").read_text()
    assert "<Category>red</Category><Category>green</Category>" in names
    path = job.files["labels"].with_name("field.labels.qml")
    legend = ElementTree.parse(path)  # noqa: S314 -- our own file
    entries = [(one.get("value"), one.get("label")) for one in legend.iter("paletteEntry")]
    assert entries == [("0", "red"), ("1", "green"), ("2", "blue")]
    job.run(colour_segmenter())  # may replace its own


def test_pixels_without_data_are_void_and_move_no_other(tmp_path: Path, field: np.ndarray) -> None:
    field = field.clip(1)
    field[40:70, 20:90] = 0
    path = write_raster(tmp_path / "field.tif", field, nodata=0)
    job = RasterJob(path=path, vocabulary=NAMES, out=tmp_path / "out")
    summary = job.run(colour_segmenter()).summary
    expected = native_labels(field)
    expected[40:70, 20:90] = 255
    assert np.array_equal(labels_of(job), expected)
    assert summary["data"]["share"] == pytest.approx(1 - 2100 / 11_700, abs=1e-6)


def test_bands_and_stretch_choose_what_the_model_sees(tmp_path: Path, field: np.ndarray) -> None:
    deep = np.concatenate([np.zeros_like(field[..., :1]), field[..., ::-1]], axis=2)
    path = write_raster(tmp_path / "deep.tif", deep.astype(np.uint16) * 10)
    job = RasterJob(
        path=path,
        vocabulary=NAMES,
        out=tmp_path,
        bands=(4, 3, 2),
        stretch=Stretch.parse("0..2550"),
    )
    report = job.run(colour_segmenter())
    assert np.array_equal(labels_of(job), native_labels(field))
    assert report.summary["reading"]["bands"] == [4, 3, 2]
    usual = replace(job, stretch=None).run(colour_segmenter()).summary["reading"]["value_ranges"]
    low, high = np.percentile(10.0 * field[..., 0], [2, 98])
    assert usual[0] == pytest.approx([low, high])


def test_polygons_have_the_area_of_their_pixels_in_the_map_s_units(job: RasterJob) -> None:
    job = replace(job, formats=("geojson", "gpkg"))
    summary = job.run(colour_segmenter()).summary
    document = json.loads(job.files["geojson"].read_text())
    red = [one for one in document["features"] if one["properties"]["name"] == "red"]
    area = sum(one["properties"]["area"] for one in red)
    assert area == (labels_of(job) == 0).sum() * 200 == summary["names"][0]["area"]
    assert red[0]["properties"]["area_unit"] == "metre²"
    shapes = [shapely.geometry.shape(one["geometry"]) for one in document["features"]]
    assert all(shape.is_valid for shape in shapes)
    assert shapely.total_bounds(shapes).tolist() == [500_000, 4_998_200, 501_300, 5_000_000]
    info = pyogrio.read_info(job.files["gpkg"])
    assert (info["features"], info["crs"]) == (len(shapes), "EPSG:32633")


def test_a_killed_run_goes_on_where_it_stopped(job: RasterJob, field: np.ndarray) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import os, signal; from pathlib import Path\n"
        "from tests.colour_method import colour_segmenter\n"
        "from escnet.rasters import chunks; chunks.CHUNK_HW = (32, 64)\n"
        "from escnet.rasters.job import RasterJob\n"
        "from escnet.vocabulary import Vocabulary\n"
        "names = Vocabulary.of(['red', 'green', 'blue'])\n"
        "job = RasterJob(path=Path(sys.argv[2]), vocabulary=names, out=Path(sys.argv[3]))\n"
        "seen = []\n"
        "def stop(report):\n"
        "    seen.append(report)\n"
        "    if len(seen) == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "job.run(colour_segmenter(), stop)\n"
    )
    root = str(Path(__file__).parents[2])
    arguments = [sys.executable, "-c", code, root, str(job.path), str(job.out)]
    process = os.posix_spawn(sys.executable, arguments, os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    assert not job.files["labels"].exists()
    reports: list[PartReport] = []
    replace(job, resume=True).run(colour_segmenter(), reports.append)
    assert [report.status for report in reports] == ["skipped"] * 4 + ["written"] * 5
    assert np.array_equal(labels_of(job), native_labels(field))
    assert not list(job.out.glob("*.parts"))
    assert replace(job, resume=True).run(colour_segmenter()).status == "skipped"


def test_a_raster_that_is_cut_off_keeps_what_is_finished(tmp_path: Path, field: np.ndarray) -> None:
    path = write_raster(tmp_path / "cut.tif", np.tile(field, (8, 1, 1)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    windows = replace(NATIVE, global_view=False)
    job = RasterJob(
        path=path, vocabulary=NAMES, out=tmp_path, options=SegmentOptions(windows=windows)
    )
    with pytest.raises(ImageError, match=r"cut\.tif .*is cut off, damaged"):
        job.run(colour_segmenter())


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"width": 99, "height": 99, "blockxsize": 16_384, "blockysize": 16_384}, "of 16384 x"),
        ({"width": 400_000, "height": 400_000}, "400000 x 400000 pixels by its header, above"),
    ],
)
def test_headers_that_ask_for_too_much_are_refused(
    tmp_path: Path, profile: dict[str, object], message: str
) -> None:
    path = write_header(tmp_path / "a.tif", **profile)
    with pytest.raises(ImageError, match=message):
        RasterJob(path=path, vocabulary=NAMES, out=tmp_path).check()


def test_a_raster_without_bands_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.vrt"
    path.write_text('<VRTDataset rasterXSize="20" rasterYSize="20"></VRTDataset>')
    job = RasterJob(path=path, vocabulary=NAMES, out=tmp_path)
    with pytest.raises(ImageError, match=r"none\.vrt is cut off, damaged or of a kind"):
        job.check()


@pytest.mark.parametrize("bands", [(1, 2, 9), (1, 2)])
def test_bands_that_are_not_there_are_refused(job: RasterJob, bands: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="not one or three of the 3"):
        replace(job, bands=bands).check()


def test_a_file_of_somebody_else_is_not_replaced(job: RasterJob) -> None:
    job.out.mkdir()
    write_raster(job.files["labels"], np.zeros((4, 4, 1), np.uint8))
    with pytest.raises(OutputError, match="is no result of escnet"):
        job.check()


@pytest.mark.parametrize("text", ["98,2", "2", "a..b", "5..5", "-1,50", "0..inf"])
def test_stretches_that_are_no_range_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no range"):
        Stretch.parse(text)
