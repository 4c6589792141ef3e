import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.reading import FolderOptions
from escnet.errors import DatasetError

SHARED: dict[str, Any] = {
    "ignore_index": 65_535,
    "background_index": 65_534,
    "classes": ["person", "car", "sky"],
    "sources": {
        "voc": {"annotated": [0, 1], "has_background": True},
        "streets": {"annotated": [2, 0], "has_background": False},
    },
}
SEPARATE: dict[str, Any] = {
    "datasets": {
        "voc20": {"classes": ["cat", "dog"], "has_background": True},
        "camvid11": {"classes": ["sky", "road", "car"]},
    }
}


def make(root: Path, table: object, *stems: str) -> Path:
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for stem in stems:
        (root / "images" / f"{stem}.jpg").touch()
        (root / "masks" / f"{stem}.png").touch()
    (root / "classes.json").write_text(table if isinstance(table, str) else json.dumps(table))
    return root


def test_pictures_are_paired_with_label_maps_in_natural_order(tmp_path: Path) -> None:
    root = make(tmp_path, SHARED, "voc__10", "voc__9", "streets__a__b")
    (root / "images" / ".hidden.jpg").touch()
    (root / "images" / "notes.txt").touch()
    dataset = FolderDataset.read(root)
    assert len(dataset) == 3
    assert [item.stem for item in dataset] == ["streets__a__b", "voc__9", "voc__10"]
    assert [item.source for item in dataset] == ["streets", "voc", "voc"]
    first = next(iter(dataset))
    assert first.image_path == root / "images" / "streets__a__b.jpg"
    assert first.label_path == root / "masks" / "streets__a__b.png"


def test_sources_of_one_list_annotate_a_part_of_it(tmp_path: Path) -> None:
    dataset = FolderDataset.read(str(make(tmp_path, SHARED, "voc__1")))
    assert dataset.sources == ("voc", "streets")
    assert dataset.source("voc").classes == ("person", "car", "sky")
    assert dataset.source("voc").annotated == (0, 1)
    assert dataset.source("voc").has_background
    assert dataset.source("streets").annotated == (2, 0)
    assert not dataset.source("streets").has_background
    assert (dataset.ignore_index, dataset.background_index) == (65_535, 65_534)


def test_sources_with_lists_of_their_own_annotate_all_of_them(tmp_path: Path) -> None:
    dataset = FolderDataset.read(make(tmp_path, SEPARATE, "voc20__1"))
    assert dataset.source("voc20").classes == ("cat", "dog")
    assert dataset.source("camvid11").annotated == (0, 1, 2)
    assert not dataset.source("camvid11").has_background
    assert (dataset.ignore_index, dataset.background_index) == (255, 254)


def test_an_unknown_source_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    dataset = FolderDataset.read(make(tmp_path, SEPARATE, "voc20__1"))
    with pytest.raises(DatasetError, match="no source 'voc': choose from voc20, camvid11"):
        dataset.source("voc")


def test_a_picture_or_a_label_map_alone_is_named(tmp_path: Path) -> None:
    root = make(tmp_path, SEPARATE, "voc20__1", "voc20__2")
    (root / "masks" / "voc20__2.png").unlink()
    with pytest.raises(DatasetError, match=r"voc20__2\.jpg lacks its label map masks/voc20__2.png"):
        FolderDataset.read(root)
    (root / "images" / "voc20__2.jpg").unlink()
    (root / "masks" / "voc20__3.png").touch()
    with pytest.raises(DatasetError, match=r"voc20__3\.png lacks its picture images/voc20__3"):
        FolderDataset.read(root)


def test_two_pictures_of_one_stem_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path, SEPARATE, "voc20__1")
    (root / "images" / "voc20__1.png").touch()
    with pytest.raises(DatasetError, match="has 2 files called 'voc20__1'"):
        FolderDataset.read(root)


@pytest.mark.parametrize("stem", ["coco__1", "1"])
def test_a_picture_of_an_unlisted_source_is_named(stem: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"{stem}\.jpg is of source .*: name it SOURCE__NAME"):
        FolderDataset.read(make(tmp_path, SEPARATE, stem))


def test_a_folder_that_is_no_dataset_is_told_what_one_has(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no pictures with label maps that are recognised"):
        FolderDataset.read(tmp_path)
    (tmp_path / "classes.json").write_text(json.dumps(SEPARATE))
    with pytest.raises(DatasetError, match=r"images does not exist: a folder with classes\.json"):
        FolderDataset.read(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DatasetError, match="images holds no picture: add some"):
        FolderDataset.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ignore_index": 254}, "254 as ignore_index and as background_index"),
        ({"ignore_index": "255"}, "'255' as ignore_index: give an integer"),
        ({"background_index": 70_000}, "70000 as background_index"),
        ({"background_index": True}, "True as background_index"),
        ({"background_index": 2}, "has 3 classes in source 'voc', so that index 2 means two"),
        ({"sources": {}}, "names no source"),
        ({"sources": ["voc"]}, "names no source"),
        ({"sources": {"voc": []}}, "source 'voc', is a JSON list"),
        ({"sources": {"voc": {}}}, "source 'voc', has no list 'annotated'"),
        (
            {"sources": {"voc": {"annotated": [3]}}},
            r"annotates index 3, but the classes are 0\.\.2",
        ),
        ({"sources": {"voc": {"annotated": [-1]}}}, "annotates index -1"),
        ({"sources": {"voc": {"annotated": ["car"]}}}, "annotates index 'car'"),
        ({"sources": {"voc": {"annotated": [1, 1]}}}, "annotates an index twice"),
        ({"sources": {"voc": {"annotated": [1], "has_background": 1}}}, "1 as has_background"),
        ({"classes": "car"}, "has no list of 'classes'"),
        ({"classes": ["car", "Car", "sky"]}, "wrong classes: class name 2, 'Car', repeats"),
        ({"classes": ["car", 3]}, "wrong classes: class name 2 is of type int"),
    ],
)
def test_a_wrong_table_is_told_where_and_why(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    small = {"ignore_index": 255, "background_index": 254}
    root = make(tmp_path, SHARED | small | change, "voc__1")
    with pytest.raises(DatasetError, match=rf"classes\.json.*{message}") as caught:
        FolderDataset.read(root)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5_000])
def test_a_table_that_is_not_json_is_named(text: str, tmp_path: Path) -> None:
    root = make(tmp_path, "", "voc__1")
    (root / "classes.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(
        DatasetError, match=r"classes\.json is (not JSON|nested).*: correct it there"
    ):
        FolderDataset.read(root)


def test_a_table_that_is_no_list_of_names_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"class name 1 of .*classes\.json is of type int"):
        FolderDataset.read(make(tmp_path, [1], "voc__1"))


def test_colours_of_a_folder_with_sources_are_those_of_cvats_labelmap(tmp_path: Path) -> None:
    classes = {"classes": ["cat", "wall"], "sources": {"cvat": {"annotated": [0, 1]}}}
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    labelmap = (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\nwall:1,2,3::\n"
    )
    (tmp_path / "labelmap.txt").write_text(labelmap)
    Image.new("RGB", (3, 1)).save(tmp_path / "images" / "cvat__1.png")
    mask = np.array([[[0, 0, 0], [48, 112, 32], [1, 2, 3]]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "masks" / "cvat__1.png")
    (item,) = FolderDataset.read(tmp_path).items
    assert item.read_truth().tolist() == [[255, 0, 1]]
    classes["sources"]["cvat"]["has_background"] = True
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    (item,) = FolderDataset.read(tmp_path).items
    assert item.read_truth().tolist() == [[254, 0, 1]]


def test_colours_of_mmsegmentations_metainfo_are_read(tmp_path: Path) -> None:
    for folder in ("img_dir", "ann_dir"):
        (tmp_path / folder).mkdir()
    source = "METAINFO = dict(classes=('cat', 'wall'), palette=[[9, 0, 0], [0, 9, 0]])\n"
    (tmp_path / "kitchen.py").write_text(source)
    Image.new("RGB", (2, 1)).save(tmp_path / "img_dir" / "1.jpg")
    mask = np.array([[[0, 9, 0], [9, 0, 0]]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "ann_dir" / "1.png")
    options = FolderOptions(class_file=tmp_path / "kitchen.py")
    (item,) = FolderDataset.read(tmp_path, options).items
    assert item.read_truth().tolist() == [[1, 0]]
