"""GDAL by rasterio: grey label maps, and GeoJSON burnt back into pixels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from escnet.annotations.format import FormatOptions
from escnet.annotations.georeference import Georeference, read_georeference
from escnet.segmentation import Segmentation

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed here")

from rasterio.features import rasterize  # noqa: E402
from rasterio.transform import Affine  # noqa: E402

UTM = Georeference((0.5, 0.0, 400_000.0, 0.0, -0.5, 5_700_000.0), 32633)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_gdal_reads_grey_label_maps_as_one_band_of_indices(
    results: list[Segmentation], tmp_path: Path
) -> None:
    with rasterio.open(results[0].save(tmp_path, formats=["grey"])["grey"]) as dataset:
        assert dataset.count == 1
        np.testing.assert_array_equal(dataset.read(1), results[0].label_map)


@pytest.mark.parametrize("where", [None, UTM])
@pytest.mark.parametrize("per", ["name", "region"])
def test_geojson_burnt_back_is_the_label_map(
    results: list[Segmentation], tmp_path: Path, where: Georeference | None, per: str
) -> None:
    options = FormatOptions(tolerance=0.0, per=per)
    for result in results:
        placed = replace(result, georeference=where)
        path = placed.save(tmp_path, formats=["geojson"], options=options)["geojson"]
        document = json.loads(path.read_text())
        shapes = [(f["geometry"], f["properties"]["index"]) for f in document["features"]]
        transform = Affine.identity() if where is None else Affine(*where.transform)
        burnt = rasterize(
            shapes, result.label_map.shape, fill=255, transform=transform, dtype="uint8"
        )
        np.testing.assert_array_equal(burnt, result.label_map)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_our_georeference_of_a_geotiff_is_gdal_s(tmp_path: Path, crs: str) -> None:
    transform = Affine(0.25, 0, 13.4, 0, -0.125, 52.5)
    profile = {"driver": "GTiff", "height": 4, "width": 6, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=transform, crs=crs, **profile) as file:
        file.write(np.zeros((1, 4, 6), np.uint8))
    found = read_georeference(tmp_path / "a.tif")
    assert found is not None
    assert found.epsg == int(crs[5:])
    assert found.transform == pytest.approx(tuple(transform)[:6])


def test_a_turned_geotiff_and_one_of_points_are_placed_as_gdal_does(tmp_path: Path) -> None:
    transform = Affine.translation(100, 200) * Affine.rotation(30) * Affine.scale(2, -3)
    profile = {"driver": "GTiff", "height": 4, "width": 6, "count": 1, "dtype": "uint8"}
    with rasterio.open(
        tmp_path / "a.tif", "w", transform=transform, crs="EPSG:3857", **profile
    ) as file:
        file.write(np.zeros((1, 4, 6), np.uint8))
        file.update_tags(AREA_OR_POINT="Point")
    found = read_georeference(tmp_path / "a.tif")
    assert found is not None
    with rasterio.open(tmp_path / "a.tif") as file:
        assert found.transform == pytest.approx(tuple(file.transform)[:6])


def test_a_world_file_places_as_gdal_does(tmp_path: Path, results: list[Segmentation]) -> None:
    from PIL import Image

    Image.fromarray(results[0].picture).save(tmp_path / "a.jpg")
    (tmp_path / "a.jgw").write_text("0.5\n0.1\n0.2\n-0.5\n100.25\n200.5\n")
    found = read_georeference(tmp_path / "a.jpg")
    assert found is not None
    with rasterio.open(tmp_path / "a.jpg") as file:
        assert found.transform == pytest.approx(tuple(file.transform)[:6])
