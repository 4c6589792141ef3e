import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is absent")

from label_studio_sdk._extensions.label_studio_tools.core.label_config import (  # noqa: E402
    parse_config,
)
from label_studio_sdk.label_interface import LabelInterface  # noqa: E402

from escnet.annotations.rle import brush_mask, brush_rle  # noqa: E402
from escnet.segmentation import Segmentation, save_all  # noqa: E402


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 5), (400, 300), (1, 70_000)])
def test_the_converter_decodes_our_run_lengths(size_hw: tuple[int, int]) -> None:
    random = np.random.default_rng(0).random(size_hw)
    for mask in (random < 0.5, random < 2, random < 0):  # noise, all, nothing
        decoded = brush.decode_rle(brush_rle(mask)).reshape(*size_hw, 4)
        np.testing.assert_array_equal(decoded[..., 3] == 255, mask)
        assert set(np.unique(decoded)) <= {0, 255}


def test_the_converter_s_own_encoder_says_the_same(results: list[Segmentation]) -> None:
    mask = results[1].label_map == 1
    theirs = brush.decode_rle(brush.mask2rle(mask.astype(np.uint8) * 255))
    np.testing.assert_array_equal(brush.decode_rle(brush_rle(mask)), theirs)


def test_predictions_fit_the_set_up_and_give_the_label_map_back(
    results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(results, tmp_path, ["label-studio"])
    set_up = (tmp_path / "label-studio" / "set-up.xml").read_text()
    config = parse_config(set_up)
    assert config["label"]["to_name"] == ["image"]
    assert config["label"]["labels"] == list(results[0].names)
    interface = LabelInterface(set_up)
    tasks = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    assert [task["data"]["image"].rpartition("=")[2] for task in tasks] == [
        "rings.jpg",
        "noise.jpg",
        "alone.jpg",
    ]
    for task, result in zip(tasks, results, strict=True):
        assert interface.validate_task({"data": task["data"]}, validate_regions_only=False)
        label_map = np.full(result.label_map.shape, 255)
        for region in task["predictions"][0]["result"]:
            size_hw = region["original_height"], region["original_width"]
            assert size_hw == result.label_map.shape
            decoded = brush.decode_rle(region["value"]["rle"]).reshape(*size_hw, 4)[..., 3]
            label_map[decoded > 0] = result.names.index(region["value"]["brushlabels"][0])
        np.testing.assert_array_equal(label_map, result.label_map)


def test_the_converter_makes_masks_of_our_predictions(
    results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(results, tmp_path, ["label-studio"])
    tasks = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    regions = tasks[0]["predictions"][0]["result"]
    masks = brush.decode_from_annotation("label", _as_converter_items(regions))
    found = {
        name.rpartition("-label-")[2].rpartition("-")[0] or name: m for name, m in masks.items()
    }
    assert len(found) == 3
    total = sum((mask > 0).astype(int) for mask in masks.values())
    np.testing.assert_array_equal(total == 1, results[0].label_map != 255)


def _as_converter_items(regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **region["value"],
            "original_width": region["original_width"],
            "original_height": region["original_height"],
            "type": region["type"],
        }
        for region in regions
    ]


def test_we_decode_what_its_own_encoder_writes(results: list[Segmentation]) -> None:
    for result in results:
        mask = result.label_map == 1
        packed = brush.mask2rle(mask.astype(np.uint8) * 255)
        np.testing.assert_array_equal(brush_mask(packed, mask.shape), mask)
