"""The rules of panopticapi's reader and evaluation; it is on no package index itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.format import FormatOptions
from escnet.segmentation import Segmentation, save_all


def rgb2id(color: np.ndarray) -> np.ndarray:
    """As its format page defines ids."""
    red, green, blue = np.moveaxis(color.astype(int), -1, 0)
    return red + 256 * green + 256 * 256 * blue


@pytest.mark.parametrize("per", ["name", "region"])
def test_pictures_and_segments_agree_as_panopticapi_asks(
    results: list[Segmentation], tmp_path: Path, per: str
) -> None:
    save_all(results, tmp_path, ["coco-panoptic"], options=FormatOptions(per=per))
    document = json.loads((tmp_path / "coco-panoptic" / "panoptic.json").read_text())
    categories = {category["id"]: category for category in document["categories"]}
    assert all(set(c) >= {"id", "name", "isthing", "color"} for c in categories.values())
    assert [image["id"] for image in document["images"]] == [1, 2, 3]
    assert len(document["annotations"]) == len(results)
    for annotation, image, result in zip(
        document["annotations"], document["images"], results, strict=True
    ):
        assert annotation["image_id"] == image["id"]
        with Image.open(tmp_path / "coco-panoptic" / "panoptic" / annotation["file_name"]) as png:
            assert png.mode == "RGB"
            ids = rgb2id(np.asarray(png))
        segments = {segment["id"]: segment for segment in annotation["segments_info"]}
        assert set(np.unique(ids)) - {0} == set(segments)  # each segment is shown, and no other
        label_map = np.full(ids.shape, 255)
        for number, segment in segments.items():
            rows, columns = np.nonzero(ids == number)
            assert segment["area"] == rows.size
            left, top, width, height = segment["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert segment["iscrowd"] == 0
            label_map[ids == number] = categories[segment["category_id"]]["id"] - 1
        np.testing.assert_array_equal(label_map, result.label_map)
