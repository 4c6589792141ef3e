import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from escnet.annotations.format import FormatOptions
from escnet.annotations.georeference import Georeference
from escnet.segmentation import Segmentation

HALF_METRE = Georeference((0.5, 0.0, 400_000.0, 0.0, -0.5, 5_700_000.0), 32633)


def saved(result: Segmentation, folder: Path, **options: Any) -> dict[str, Any]:
    options = {"tolerance": 0.0, **options}
    path = result.save(folder, formats=["geojson"], options=FormatOptions(**options))["geojson"]
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.mark.parametrize("per", ["name", "region"])
def test_features_cover_the_pixels_of_their_names(
    result: Segmentation, tmp_path: Path, per: str
) -> None:
    document = saved(result, tmp_path, per=per)
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document
    y, x = np.mgrid[:4, :6] + 0.5
    label_map = np.full(result.label_map.shape, 255)
    for feature in document["features"]:
        outline = shapely.geometry.shape(feature["geometry"])
        assert outline.is_valid
        assert all(part.exterior.is_ccw for part in shapely.get_parts(outline))
        inside = shapely.contains_xy(outline, x, y)
        properties = feature["properties"]
        assert inside.sum() == properties["pixels"] == outline.area
        assert properties["name"] == result.names[properties["index"]]
        label_map[inside] = properties["index"]
    np.testing.assert_array_equal(label_map, result.label_map)


def test_a_place_on_earth_makes_coordinates_of_its_map(
    result: Segmentation, tmp_path: Path
) -> None:
    document = saved(replace(result, georeference=HALF_METRE), tmp_path)
    assert document["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    outlines = [shapely.geometry.shape(f["geometry"]) for f in document["features"]]
    assert shapely.unary_union(outlines).bounds == (400_000, 5_699_998, 400_003, 5_700_000)
    pixels = [feature["properties"]["pixels"] for feature in document["features"]]
    assert [outline.area for outline in outlines] == [0.25 * count for count in pixels]
    for outline in outlines:
        assert all(part.exterior.is_ccw for part in shapely.get_parts(outline))


def test_longitude_and_latitude_need_no_word(result: Segmentation, tmp_path: Path) -> None:
    placed = replace(result, georeference=HALF_METRE._replace(epsg=4326))
    assert "crs" not in saved(placed, tmp_path)
