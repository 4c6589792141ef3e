import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from escnet.annotations.format import FormatOptions
from escnet.segmentation import Segmentation, save_all

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # in pycocotools


def saved(result: Segmentation, folder: Path, kind: str, **options: Any) -> dict[str, Any]:
    path = result.save(folder, formats=[kind], options=FormatOptions(**options))[kind]
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def decoded(annotation: dict[str, Any], image: dict[str, Any]) -> np.ndarray:
    rle = annotation["segmentation"]
    if isinstance(rle, list):
        rle = run_lengths.merge(run_lengths.frPyObjects(rle, image["height"], image["width"]))
    return np.asarray(run_lengths.decode(rle), dtype=bool)


@pytest.mark.parametrize("shape", ["polygon", "rle"])
@pytest.mark.parametrize("per", ["name", "region"])
def test_annotations_give_the_label_map_back(
    result: Segmentation, tmp_path: Path, shape: str, per: str
) -> None:
    document = saved(result, tmp_path, "coco", shape=shape, per=per, tolerance=0.0)
    label_map = np.full(result.label_map.shape, 255)
    for annotation in document["annotations"]:
        mask = decoded(annotation, document["images"][0])
        label_map[mask] = annotation["category_id"] - 1
        rows, columns = np.nonzero(mask)
        assert annotation["area"] == mask.sum()
        left, top, width, height = annotation["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert annotation["score"] == 0.75
    np.testing.assert_array_equal(label_map, result.label_map)
    found = [annotation["category_id"] for annotation in document["annotations"]]
    assert found == ([1, 2, 3] if per == "name" else [1, 1, 2, 2, 3, 3])


def test_the_picture_is_called_by_its_own_file_and_names_are_categories(
    result: Segmentation, tmp_path: Path
) -> None:
    document = saved(result, tmp_path, "coco")
    assert document["images"] == [{"id": 1, "file_name": "beach.png", "width": 6, "height": 4}]
    assert [(c["id"], c["name"]) for c in document["categories"]] == [
        (1, "sky"),
        (2, "sea"),
        (3, "sand"),
        (4, "absent"),
    ]


def test_the_whole_numbers_pictures_and_annotations_through(
    result: Segmentation, tmp_path: Path
) -> None:
    others = [replace(result, stem=stem, source=None) for stem in ("a", "b", "c")]
    (whole,) = save_all(iter(others), tmp_path, ["coco"])
    document = json.loads(whole.read_text())
    assert [image["id"] for image in document["images"]] == [1, 2, 3]
    assert [image["file_name"] for image in document["images"]] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [a["id"] for a in document["annotations"]] == list(range(1, 10))
    assert [a["image_id"] for a in document["annotations"]] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_stuff_results_are_one_list_over_the_folder(result: Segmentation, tmp_path: Path) -> None:
    (whole,) = save_all([result, replace(result, stem="b")], tmp_path, ["coco-stuff"])
    entries = json.loads(whole.read_text())
    assert [(e["image_id"], e["category_id"]) for e in entries] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
        (2, 2),
        (2, 3),
    ]
    mask = np.asarray(run_lengths.decode(entries[1]["segmentation"]), dtype=bool)
    np.testing.assert_array_equal(mask, result.mask("sea"))


@pytest.mark.parametrize("per", ["name", "region"])
def test_panoptic_pictures_hold_the_segments_that_are_listed(
    result: Segmentation, tmp_path: Path, per: str
) -> None:
    save_all([result], tmp_path, ["coco-panoptic"], options=FormatOptions(per=per))
    document = json.loads((tmp_path / "coco-panoptic" / "panoptic.json").read_text())
    (annotation,) = document["annotations"]
    with Image.open(tmp_path / "coco-panoptic" / "panoptic" / annotation["file_name"]) as image:
        ids = np.asarray(image).astype(int) @ [1, 256, 65536]
    label_map = np.full(ids.shape, 255)
    for segment in annotation["segments_info"]:
        assert segment["area"] == (ids == segment["id"]).sum() > 0
        label_map[ids == segment["id"]] = segment["category_id"] - 1
    np.testing.assert_array_equal(label_map, result.label_map)
    assert (ids[result.label_map == 255] == 0).all()
    assert len(annotation["segments_info"]) == (3 if per == "name" else 6)


def test_more_than_255_segments_need_green(tmp_path: Path, result: Segmentation) -> None:
    board = np.indices((20, 20)).sum(axis=0).astype(np.uint8) % 2
    many = replace(result, label_map=board, confidence=np.ones((20, 20), np.float32), picture=None)
    save_all([many], tmp_path, ["coco-panoptic"], options=FormatOptions(per="region"))
    with Image.open(tmp_path / "coco-panoptic" / "panoptic" / "beach.png") as image:
        ids = np.asarray(image).astype(int) @ [1, 256, 65536]
    assert sorted(ids.ravel().tolist()) == list(range(1, 401))
