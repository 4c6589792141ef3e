import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from escnet.data.folder import FolderDataset
from escnet.data.reading import FolderOptions
from escnet.errors import DatasetError

H, W = 20, 30
VAL = "annotations/instances_val.json"


def document(*annotations: dict[str, Any], name: str = "a.jpg") -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": name, "height": H, "width": W}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {"id": number, "image_id": 7, "iscrowd": 0, **annotation}
            for number, annotation in enumerate(annotations, 1)
        ],
    }


SQUARE = [[2.0, 3.0, 10.0, 3.0, 10.0, 9.0, 2.0, 9.0]]  # 8 x 6 pixels, columns 2..9, rows 3..8
CAT = {"category_id": 17, "segmentation": SQUARE}


def folder(
    root: Path, table: dict[str, Any], place: str = "annotations/instances_val.json"
) -> Path:
    for image in table["images"]:
        path = root / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (W, H), (90, 80, 70)).save(path)
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text(json.dumps(table))
    return root


def truth(root: Path, **options: Any) -> np.ndarray:
    (item,) = FolderDataset.read(root, FolderOptions(**options))
    return item.read_truth()


def test_a_polygon_is_its_category_in_the_order_of_ids_and_the_rest_is_no_class(
    tmp_path: Path,
) -> None:
    dataset = FolderDataset.read(folder(tmp_path / "pets", document(CAT)))
    assert dataset.source("pets").classes == ("cat", "dog")
    assert dataset.source("pets").has_background
    expected = np.full((H, W), 254)
    expected[3:9, 2:10] = 0
    (item,) = dataset
    assert item.stem == "a"
    np.testing.assert_array_equal(item.read_truth(), expected)


def runs_of(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths: column by column, beginning with those outside."""
    flat, runs, value = mask.T.ravel(), [0], False
    for pixel in flat.tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'
def test_every_kind_of_segmentation_is_what_pycocotools_draws(tmp_path: Path) -> None:
    mask = np.random.default_rng(3).random((H, W)) < 0.3
    star = [[15.2, 0.4, 20.7, 18.9, 3.1, 6.6, 28.3, 6.6, 9.9, 18.9]]
    several = [SQUARE[0], [12.0, 10.0, 25.5, 10.0, 18.0, 19.0]]
    packed = {"size": [H, W], "counts": runs_of(mask)}
    for segmentation in (star, several, packed):
        table = document({"category_id": 18, "segmentation": segmentation})
        root = folder(tmp_path / str(len(str(segmentation))), table)
        coco = COCO(root / "annotations" / "instances_val.json")
        (annotation,) = coco.loadAnns(coco.getAnnIds())
        expected = np.where(coco.annToMask(annotation), 1, 254)
        np.testing.assert_array_equal(truth(root), expected)
        if segmentation is packed:
            encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            counts = {"size": [H, W], "counts": encoded["counts"].decode()}
            table = document({"category_id": 18, "segmentation": counts})
            np.testing.assert_array_equal(truth(folder(tmp_path / "packed", table)), expected)


def test_where_two_categories_overlap_nothing_counts(tmp_path: Path) -> None:
    other = [[8.0, 3.0, 14.0, 3.0, 14.0, 9.0, 8.0, 9.0]]  # columns 8..13
    table = document(CAT, {"category_id": 18, "segmentation": other}, CAT)
    labels = truth(folder(tmp_path, table))
    assert labels[4, [1, 2, 7, 8, 9, 10, 13, 14]].tolist() == [254, 0, 0, 255, 255, 1, 1, 254]


@pytest.mark.parametrize(
    "place", ["_annotations.coco.json", "annotations/instances_val2017.json", "labels.json"]
)
def test_the_file_is_found_under_any_name_and_can_be_given_itself(
    place: str, tmp_path: Path
) -> None:
    root = folder(tmp_path / "set", document(CAT), place)
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "notes.json").write_text('{"images": 3}')
    np.testing.assert_array_equal(truth(root), truth(root / place))


def test_of_several_files_the_split_tells_which(tmp_path: Path) -> None:
    folder(tmp_path, document(CAT))
    other = document(CAT, CAT, name="b.jpg")
    folder(tmp_path, other, "annotations/instances_train.json")
    with pytest.raises(DatasetError, match="has the parts train, val: choose one with --split val"):
        FolderDataset.read(tmp_path)
    dataset = FolderDataset.read(tmp_path, FolderOptions(split="train"))
    assert [item.stem for item in dataset] == ["b"]


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda table: table["images"][0].pop(key)


def named(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda table: table["images"][0].update(file_name=name)


def drawn_by(segmentation: Any) -> Callable[[dict[str, Any]], None]:
    return lambda table: table["annotations"][0].update(segmentation=segmentation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("height"), "is not as COCO's files are"),
        (named("../../a.jpg"), "lies outside the folder"),
        (named("/etc/passwd"), "lies outside the folder"),
        (named("b.jpg"), r"1 of 1 pictures of .* are not there, the first is b\.jpg"),
        (drawn_by([[1, 2, 3]]), "wrong annotation 1 .*a polygon of 3 numbers"),
        (drawn_by([[0, 0, 1e12, 0, 1e12, 1e12]]), "a point far outside the picture"),
        (drawn_by([[0, 0, float("nan"), 0, 5, 5]]), "a point far outside the picture"),
        (drawn_by({"size": [H, W], "counts": "zzzz"}), "wrong annotation 1"),
        (drawn_by({"size": [9, 9], "counts": [81]}), "on a picture of"),
        (drawn_by(7), "wrong annotation 1"),
        (lambda t: t["annotations"][0].update(category_id=99), "wrong annotation 1 .*99"),
        (lambda t: t["images"][0].update(height=10**6, width=10**6), "has 1000000 x 1000000 pix"),
        (lambda t: t["categories"].append({"id": 20, "name": "cat"}), "repeats"),
    ],
    ids=range(13),
)
def test_a_wrong_file_is_told_in_one_line(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    root = folder(tmp_path, document(CAT))
    table = document(CAT)
    change(table)
    (root / "annotations" / "instances_val.json").write_text(json.dumps(table))
    with pytest.raises(DatasetError, match=message) as caught:
        truth(root)
    assert str(caught.value).isprintable()
