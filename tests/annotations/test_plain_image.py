import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.palette import name_colours
from escnet.annotations.plain_image import encode_photo, slug
from escnet.errors import OutputError
from escnet.files import is_ours
from escnet.segmentation import Segmentation


def test_a_grey_file_s_values_are_the_indices(result: Segmentation, tmp_path: Path) -> None:
    path = result.save(tmp_path, formats=["grey"])["grey"]
    assert path.name == "beach.grey.png"
    assert is_ours(path)
    with Image.open(path) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), result.label_map)


def test_many_names_need_16_bits(result: Segmentation, tmp_path: Path) -> None:
    wide = replace(result, label_map=result.label_map.astype(np.uint16) * 257)
    with Image.open(wide.save(tmp_path, formats=["grey"])["grey"]) as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), wide.label_map)


def test_colours_and_their_table_give_the_label_map_back(
    result: Segmentation, tmp_path: Path
) -> None:
    path = result.save(tmp_path, formats=["color"])["color"]
    with Image.open(path) as image:
        assert image.mode == "RGB"
        pixels = np.asarray(image)
    table = json.loads((tmp_path / "beach.color.json").read_text())["colors"]
    assert [row["name"] for row in table] == [*result.names, None]
    assert table[1]["rgb"] == name_colours(result.names)[1].tolist()
    found = np.zeros(result.label_map.shape, int)
    for row in table:
        found[(pixels == row["rgb"]).all(axis=2)] = row["index"]
    np.testing.assert_array_equal(found, result.label_map)


def test_each_name_present_gets_a_mask_and_the_list_says_which(
    result: Segmentation, tmp_path: Path
) -> None:
    path = result.save(tmp_path, formats=["masks"])["masks"]
    listed = json.loads(path.read_text())["masks"]
    assert [entry["name"] for entry in listed] == ["sky", "sea", "sand"]
    for entry in listed:
        assert is_ours(tmp_path / entry["file"])
        with Image.open(tmp_path / entry["file"]) as image:
            mask = np.asarray(image)
        np.testing.assert_array_equal(mask == 255, result.mask(entry["name"]))
        assert entry["mean_confidence"] == 0.75


def test_a_mask_s_file_name_is_safe_whatever_the_name(result: Segmentation, tmp_path: Path) -> None:
    evil = replace(result, names=("../../up", "con:*?", "\udc80", "道" * 300))
    listed = json.loads(evil.save(tmp_path, formats=["masks"])["masks"].read_text())["masks"]
    assert [entry["file"] for entry in listed] == [
        "beach.masks/000-up.png",
        "beach.masks/001-con.png",
        "beach.masks/002-.png",
    ]
    assert slug("道" * 300) == "道" * 60


def test_a_picture_beyond_what_jpeg_can_hold_says_so() -> None:
    with pytest.raises(OutputError, match="66000 x 1 pixels is too large for JPEG"):
        encode_photo(np.zeros((1, 66_000, 3), np.uint8))
