"""Folders of pictures with label maps as tools and people leave them, and what their truth is.

Each test draws a small folder the way a tool writes it; the labels that must come out are written
by hand beside it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.data.conventions import Conventions
from escnet.data.folder import FolderDataset
from escnet.data.folder_layouts import label_maps_beside
from escnet.data.picture_search import find_images
from escnet.data.reading import FolderOptions
from escnet.errors import ConfigError, DatasetError

LABELS = [[0, 1, 1], [2, 2, 1]]  # background or the first class, cat, window
NAMES = "background\ncat\nwindow\n"
COLOURS = {0: (0, 0, 0), 1: (48, 112, 32), 2: (176, 112, 32), 255: (224, 224, 192)}
LABELMAP = (
    "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\nwindow:176,112,32::\n"
)


def put(path: Path, values: list[list[int]] | np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path, **options)
    return path


def picture(path: Path, height: int = 2, width: int = 3, **options: Any) -> Path:
    return put(path, np.full((height, width, 3), 90), **options)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def coloured(labels: list[list[int]]) -> np.ndarray:
    return np.array([[COLOURS[label] for label in row] for row in labels], np.uint8)


def plain(root: Path) -> None:
    picture(root / "images" / "0001.jpg")
    put(root / "masks" / "0001.png", LABELS)
    text(root / "classes.txt", NAMES)


def plain_with_a_list_in_json(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()
    text(root / "classes.json", '{"classes": ["background", "cat", "window"]}')


def plain_with_a_bare_list(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()
    text(root / "classes.json", '["background", "cat", "window"]')


def plain_with_numbered_names(root: Path) -> None:
    plain(root)
    text(root / "classes.txt", "0: background\n1: cat\n2: window\n")


def plain_with_id2label(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()
    text(root / "id2label.json", '{"0": "background", "1": "cat", "2": "window"}')


def plain_with_label2id_in_the_label_folder(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()
    text(root / "masks" / "label2id.json", '{"window": 2, "background": 0, "cat": 1}')


def mmsegmentation(root: Path) -> None:
    picture(root / "img_dir" / "val" / "0001.jpg")
    put(root / "ann_dir" / "val" / "0001.png", LABELS)
    text(root / "classes.txt", NAMES)


def mmsegmentation_with_metainfo(root: Path) -> None:
    mmsegmentation(root)
    (root / "classes.txt").unlink()
    table = {"classes": NAMES.split(), "palette": [list(COLOURS[i]) for i in range(3)]}
    text(root / "classes.json", json.dumps(table))


def cvat(root: Path) -> None:
    picture(root / "JPEGImages" / "frame_000000.jpg")
    put(root / "SegmentationClass" / "frame_000000.png", coloured(LABELS))
    put(root / "SegmentationObject" / "frame_000000.png", coloured(LABELS))
    text(root / "labelmap.txt", LABELMAP)
    text(root / "ImageSets" / "Segmentation" / "default.txt", "frame_000000\n")


def cvat_indexed(root: Path) -> None:
    cvat(root)
    image = Image.fromarray(np.array([[3, 7, 7], [5, 5, 7]], np.uint8))  # any indices
    palette = [9] * 768
    for index, label in ((3, 0), (7, 1), (5, 2)):
        palette[3 * index : 3 * index + 3] = COLOURS[label]
    image.putpalette(palette)
    image.save(root / "SegmentationClass" / "frame_000000.png")


def cvat_moved_into_images_and_masks(root: Path) -> None:
    picture(root / "images" / "frame_000000.jpg")
    put(root / "masks" / "frame_000000.png", coloured(LABELS))
    text(root / "labelmap.txt", LABELMAP)


def camvid_of_kaggle(root: Path) -> None:
    picture(root / "images" / "0001TP_006690.png")
    put(root / "labels" / "0001TP_006690_L.png", coloured(LABELS))
    rows = "".join(
        f"{name},{','.join(map(str, COLOURS[i]))}\n" for i, name in enumerate(NAMES.split())
    )
    text(root / "class_dict.csv", "name,r,g,b\n" + rows)


def fiftyone_colours(root: Path) -> None:
    picture(root / "data" / "0001.jpg")
    plain(root)
    (root / "classes.txt").unlink()
    put(root / "masks" / "0001.png", coloured(LABELS))
    table = {"#000000": "background", "#307020": "cat", "#B07020": "window"}
    text(root / "mask_targets.json", json.dumps(table))


def roboflow(root: Path) -> None:
    stem = "cat-7_jpg.rf.0a1b2c3d4e5f"
    picture(root / "train" / f"{stem}.jpg")
    put(root / "train" / f"{stem}_mask.png", LABELS)
    text(root / "train" / "_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, window\n")
    text(root / "README.roboflow.txt", "made by a tool")


def endings_of_people(label_ending: str, picture_ending: str = "") -> Callable[[Path], None]:
    def draw(root: Path) -> None:
        picture(root / "images" / f"0001{picture_ending}.jpg")
        put(root / "masks" / f"0001{label_ending}.png", LABELS)
        text(root / "classes.txt", NAMES)

    draw.__name__ = f"names_ending_in{label_ending}{picture_ending}"
    return draw


def values_with_gaps(root: Path) -> None:
    plain(root)
    put(root / "masks" / "0001.png", np.array([0, 5, 9])[np.array(LABELS)])
    text(root / "classes.txt", "0: background\n9: window\n5: cat\n")


def objects_out_of_order(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()
    rows = [{"name": name, "id": i} for i, name in enumerate(NAMES.split())]
    text(root / "classes.json", json.dumps(rows[::-1]))


def tensorflows_label_map(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()
    items = (f"item {{ id: {i} name: '{n}' }}\n" for i, n in enumerate(NAMES.split()))
    text(root / "labels.txt", "".join(items))


def colours_in_hexadecimal(root: Path) -> None:
    plain(root)
    put(root / "masks" / "0001.png", coloured(LABELS))
    text(root / "classes.txt", "#000000 background\n#307020 cat\n#B07020 window\n")


def colours_with_opacity(root: Path) -> None:
    camvid_of_kaggle(root)
    opaque = np.full((2, 3, 1), 255, np.uint8)
    put(root / "labels" / "0001TP_006690_L.png", np.concatenate([coloured(LABELS), opaque], 2))


def a_list_for_excel(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()
    rows = "".join(f"{i};{name}\n" for i, name in enumerate(NAMES.split()))
    (root / "classes.csv").write_text("sep=;\nid;name\n" + rows, encoding="utf-16")


def beside_each_other(root: Path) -> None:
    picture(root / "a.jpg")
    put(root / "a.png", LABELS)
    text(root / "labels.txt", NAMES)


def splits_first(root: Path) -> None:
    picture(root / "val" / "images" / "a.png")
    put(root / "val" / "masks" / "a.png", LABELS)
    text(root / "classes.txt", NAMES)


def rgb_with_equal_channels(root: Path) -> None:
    plain(root)
    put(root / "masks" / "0001.png", np.repeat(np.array(LABELS)[:, :, None], 3, axis=2))


def sixteen_bits(root: Path) -> None:
    plain(root)
    Image.fromarray(np.array(LABELS, np.uint16)).save(root / "masks" / "0001.png")


def tiff(root: Path) -> None:
    plain(root)
    (root / "masks" / "0001.png").unlink()
    put(root / "masks" / "0001.tif", LABELS)


def segments_own_outputs(root: Path) -> None:
    plain(root)
    (root / "masks" / "0001.png").rename(root / "masks" / "0001.labels.png")


def image_folder(root: Path) -> None:
    picture(root / "0001.jpg")
    put(root / "maps" / "x.png", LABELS)
    row = {"file_name": "0001.jpg", "label_file_name": "maps/x.png"}
    text(root / "metadata.jsonl", json.dumps(row))
    text(root / "classes.txt", NAMES)


def capitals_and_hidden_files(root: Path) -> None:
    picture(root / "Images" / "0001.JPG", format="JPEG")
    put(root / "Masks" / "0001.PNG", LABELS)
    text(root / "Masks" / ".DS_Store", "x")
    text(root / "Images" / "Thumbs.db", "x")
    text(root / "classes.txt", "\ufeff" + NAMES.replace("\n", "\r\n"))


AS_TOOLS_WRITE: list[Callable[[Path], None]] = [
    plain, plain_with_a_list_in_json, plain_with_a_bare_list, plain_with_numbered_names,
    plain_with_id2label, plain_with_label2id_in_the_label_folder, mmsegmentation,
    mmsegmentation_with_metainfo, cvat, cvat_indexed, cvat_moved_into_images_and_masks,
    camvid_of_kaggle, fiftyone_colours, roboflow, beside_each_other, splits_first,
    rgb_with_equal_channels, sixteen_bits, tiff, segments_own_outputs, image_folder,
    capitals_and_hidden_files, values_with_gaps, objects_out_of_order, tensorflows_label_map,
    colours_in_hexadecimal, colours_with_opacity, a_list_for_excel,
    *map(endings_of_people, ["-mask", ".mask", "_Mask", "_GT", "_segmentation", "_groundtruth"]),
    endings_of_people("_mask", "_img"), endings_of_people("_label", "_image"),
]  # fmt: skip


@pytest.mark.parametrize("draw", AS_TOOLS_WRITE, ids=lambda draw: draw.__name__)
def test_a_tools_folder_is_read_as_it_is(draw: Callable[[Path], None], tmp_path: Path) -> None:
    root = tmp_path / "kitchen"
    draw(root)
    dataset = FolderDataset.read(root)
    (source,) = dataset.sources
    assert source.startswith("kitchen")
    by_name = dict(enumerate(dataset.source(source).classes))
    assert sorted(by_name.values()) == ["background", "cat", "window"]
    (item,) = dataset
    labels = item.read_truth()
    assert labels.dtype == np.uint8
    names = [[by_name[label] for label in row] for row in labels.tolist()]
    assert names == [[NAMES.split()[label] for label in row] for row in LABELS]
    assert dataset.layout.count("\n") == 0
    assert "1 picture" in dataset.layout


def test_vocs_own_folder_has_vocs_names_and_its_outlines_count_nowhere(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 8, 255]], np.uint8))
    image.putpalette(list(range(256)) * 3)
    picture(tmp_path / "JPEGImages" / "2007_000033.jpg", 1)
    picture(tmp_path / "JPEGImages" / "2007_000027.jpg", 1)  # of no label map
    (tmp_path / "SegmentationClass").mkdir()
    image.save(tmp_path / "SegmentationClass" / "2007_000033.png")
    dataset = FolderDataset.read(tmp_path)
    classes = dataset.source(dataset.sources[0]).classes
    assert [classes[0], classes[8], len(classes)] == ["background", "cat", 21]
    assert [item.read_truth().tolist() for item in dataset] == [[[0, 8, 255]]]
    assert "1 picture without label map left out" in dataset.layout


def cityscapes(root: Path, ending: str, labels: list[list[int]]) -> None:
    picture(root / "leftImg8bit" / "val" / "aachen" / "aachen_000000_000019_leftImg8bit.png")
    folder = root / "gtFine" / "val" / "aachen"
    put(folder / f"aachen_000000_000019_gtFine_{ending}.png", labels)
    put(folder / "aachen_000000_000019_gtFine_color.png", coloured(LABELS))
    put(folder / "aachen_000000_000019_gtFine_instanceIds.png", LABELS)
    text(folder / "aachen_000000_000019_gtFine_polygons.json", "{}")


@pytest.mark.parametrize(
    ("ending", "labels"),
    [
        # road, car, licence plate or caravan (not scored), person
        ("labelTrainIds", [[0, 13, 255], [11, 0, 0]]),
        ("labelIds", [[7, 26, 29], [24, 7, 7]]),
    ],
)
def test_cityscapes_two_kinds_of_label_maps_are_one_truth(
    ending: str, labels: list[list[int]], tmp_path: Path
) -> None:
    cityscapes(tmp_path, ending, labels)
    dataset = FolderDataset.read(tmp_path)
    classes = dataset.source(dataset.sources[0]).classes
    assert len(classes) == 19
    assert [classes[index] for index in (0, 13, 11)] == ["road", "car", "person"]
    assert [item.read_truth().tolist() for item in dataset] == [[[0, 13, 255], [11, 0, 0]]]


@pytest.mark.parametrize(
    ("names", "conventions", "classes", "labels"),
    [
        # 06 of the cases: 0 was labelled by nobody
        ("cat\nwindow\n", {"zero_is": "unlabelled"}, ["cat", "window"], [[255, 0, 0], [1, 1, 0]]),
        (NAMES, {"ignore": (0,)}, ["cat", "window"], [[255, 0, 0], [1, 1, 0]]),
        (NAMES, {"zero_is": "unlabelled"}, ["cat", "window"], [[255, 0, 0], [1, 1, 0]]),
        (NAMES, {"zero_is": "background"}, ["cat", "window"], [[254, 0, 0], [1, 1, 0]]),
        (
            "cat\nwindow\n",
            {"offset": 1, "ignore": (0,)},
            ["cat", "window"],
            [[255, 0, 0], [1, 1, 0]],
        ),
        (NAMES, {"ignore": (2,)}, ["background", "cat"], [[0, 1, 1], [255, 255, 1]]),
        (NAMES, {"zero_is": "first"}, NAMES.split(), LABELS),
        (
            "pet\nwindow\n",
            {"ids": {0: "ignore", 1: "pet", 2: "pet"}},
            ["pet"],
            [[255, 0, 0], [0, 0, 0]],
        ),
        (
            None,
            {"ids": {0: "background", 1: "cat", 2: "window"}},
            ["cat", "window"],
            [[254, 0, 0], [1, 1, 0]],
        ),
    ],
)  # fmt: skip
def test_a_declared_convention_moves_the_labels(
    names: str | None,
    conventions: dict[str, object],
    classes: list[str],
    labels: list[list[int]],
    tmp_path: Path,
) -> None:
    plain(tmp_path)
    (tmp_path / "classes.txt").unlink()
    if names is not None:
        text(tmp_path / "classes.txt", names)
    declared = Conventions.declared(**conventions)
    dataset = FolderDataset.read(tmp_path, FolderOptions(conventions=declared))
    assert list(dataset.source(dataset.sources[0]).classes) == classes
    assert [item.read_truth().tolist() for item in dataset] == [labels]
    assert dataset.conventions == declared


def test_a_convention_stands_in_classes_json_as_well(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "classes.txt").unlink()
    text(tmp_path / "classes.json", '{"classes": ["cat", "window"], "zero_is": "unlabelled"}')
    dataset = FolderDataset.read(tmp_path)
    assert [item.read_truth().tolist() for item in dataset] == [[[255, 0, 0], [1, 1, 0]]]
    assert dataset.conventions.zero_is == "unlabelled"


def test_names_from_one_upwards_without_a_word_are_told_what_to_declare(tmp_path: Path) -> None:
    plain(tmp_path)
    text(tmp_path / "classes.txt", "cat\nwindow\n")
    (item,) = FolderDataset.read(tmp_path)
    said = (
        r"holds label 2 in 33\.3 % of its pixels, but there are classes 0\.\.1: if 0 is unlabelled"
    )
    with pytest.raises(DatasetError, match=said):
        item.read_truth()


def test_more_than_255_classes_are_16_bit_labels(tmp_path: Path) -> None:
    plain(tmp_path)
    text(tmp_path / "classes.txt", "".join(f"thing {i}\n" for i in range(300)))
    Image.fromarray(np.array([[299, 255, 65_535]], np.uint16)).save(tmp_path / "masks" / "0001.png")
    (item,) = FolderDataset.read(tmp_path, declared(ignore=(65_535,)))
    assert item.read_truth().tolist() == [[299, 255, 65_535]]


def declared(**conventions: object) -> FolderOptions:
    return FolderOptions(conventions=Conventions.declared(**conventions))


def two_ways(root: Path) -> None:
    plain(root)
    mmsegmentation(root)


def two_kinds(root: Path) -> None:
    plain(root)
    beside_each_other(root)


def two_lists(root: Path) -> None:
    plain(root)
    text(root / "labelmap.txt", "sky:0,0,0::\n")


def two_parts(root: Path) -> None:
    mmsegmentation(root)
    picture(root / "img_dir" / "train" / "0002.jpg")
    put(root / "ann_dir" / "train" / "0002.png", LABELS)


def lone_picture(root: Path) -> None:
    plain(root)
    picture(root / "images" / "0002.jpg")


def lone_label_map(root: Path) -> None:
    plain(root)
    put(root / "masks" / "0002.png", LABELS)


def other_names(root: Path) -> None:
    plain(root)
    (root / "masks" / "0001.png").rename(root / "masks" / "first.png")


def nothing(root: Path) -> None:
    picture(root / "a.jpg")


def no_list(root: Path) -> None:
    plain(root)
    (root / "classes.txt").unlink()


def mmsegmentation_without_a_list(root: Path) -> None:
    mmsegmentation(root)
    (root / "classes.txt").unlink()


def masks_of_one_class_each(root: Path) -> None:
    plain(root)
    (root / "masks" / "0001.png").unlink()
    for label, name in enumerate(NAMES.split()):
        put(root / "masks" / f"0001_{name}.png", 255 * (np.array(LABELS) == label))


def a_colour_that_no_class_has(root: Path) -> None:
    plain(root)
    put(root / "masks" / "0001.png", coloured(LABELS))
    text(root / "classes.txt", "background: #000000\ncat: #307020\n")


def whole_numbers_of_16_bits_stretched(root: Path) -> None:
    plain(root)
    Image.fromarray(257 * np.array(LABELS, np.uint16)).save(root / "masks" / "0001.png")


def an_empty_label_map(root: Path) -> None:
    plain(root)
    (root / "masks" / "0001.png").write_bytes(b"")


def colours_without_a_list(root: Path) -> None:
    plain(root)
    put(root / "masks" / "0001.png", coloured(LABELS))


def saved_as_jpeg(root: Path) -> None:
    plain(root)
    (root / "masks" / "0001.png").unlink()
    noise = np.random.default_rng(0).integers(0, 3, (32, 32)) * 127
    put(root / "masks" / "0001.jpg", noise, quality=60)


def two_pictures_of_one_name(root: Path) -> None:
    plain(root)
    picture(root / "images" / "0001.png")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (two_ways, r"can be read as .*images/ with masks/ and as img_dir/val with ann_dir/val"),
        (two_kinds, r"can be read as .*choose with --layout folders or --layout beside"),
        (two_lists, r"labelmap\.txt.* lists 1 classes \(sky\).*--classes-file"),
        (two_parts, r"has the parts train, val: choose one with --split val"),
        (lone_picture, r"1 of 2 pictures lack a label map, the first picture is .*0002\.jpg"),
        (lone_label_map, r"1 label map lacks a picture, the first is 0002"),
        (other_names, r"no picture in .* has a label map of its name \(such as 0001 and first\)"),
        (nothing, "holds no pictures with label maps that are recognised"),
        (no_list, r"no list of class names beside the label maps: put a classes\.txt there"),
        (
            mmsegmentation_without_a_list,
            r"^img_dir/val with ann_dir/val: there is no list of class",
        ),
        (
            masks_of_one_class_each,
            r"no picture .* has a label map of its name \(such as 0001 and 0",
        ),
        (a_colour_that_no_class_has, r"holds 1 colour \(176,112,32\) that .* lacks, in 33\.3 %"),
        (whole_numbers_of_16_bits_stretched, r"holds label 257 in 83\.3 % of its"),
        (an_empty_label_map, r"is empty \(0 bytes\): fetch or export it again"),
        (colours_without_a_list, r"holds 3 colours \(.*\), not labels: list the class of each in"),
        (saved_as_jpeg, r"holds \d+ values besides the classes 0\.\.2 .* or saved as JPEG"),
        (two_pictures_of_one_name, r"has 2 files called '0001'"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line_with_the_way_out(
    draw: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    draw(tmp_path)
    with pytest.raises(DatasetError, match=message) as caught:
        [item.read_truth() for item in FolderDataset.read(tmp_path)]
    assert str(caught.value).isprintable()


def test_a_layout_that_is_named_ends_the_doubt(tmp_path: Path) -> None:
    two_kinds(tmp_path)
    assert len(FolderDataset.read(tmp_path, FolderOptions(layout="beside"))) == 1
    with pytest.raises(DatasetError, match="no layout 'voc': choose from folders, beside, coco"):
        FolderDataset.read(tmp_path, FolderOptions(layout="voc"))


def test_a_split_that_is_named_is_read_alone_and_names_the_source(tmp_path: Path) -> None:
    root = tmp_path / "kitchen"
    two_parts(root)
    dataset = FolderDataset.read(root, FolderOptions(split="train"))
    assert [item.stem for item in dataset] == ["0002"]
    assert dataset.sources == ("kitchen-train",)
    with pytest.raises(DatasetError, match="has the parts train, val, but no 'test'"):
        FolderDataset.read(root, FolderOptions(split="test"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"zero_is": "nothing"}, "zero-is is 'nothing'"),
        ({"offset": -1}, "offset is -1"),
        ({"ids": {0: "cat"}, "zero_is": "first"}, "an id map says what every value is"),
    ],
)
def test_a_wrong_convention_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Conventions.declared(**values)


@pytest.mark.parametrize(
    ("draw", "photographs"),
    [
        (roboflow, ["train/cat-7_jpg.rf.0a1b2c3d4e5f.jpg"]),
        (beside_each_other, ["a.jpg"]),
        (cvat, ["JPEGImages/frame_000000.jpg"]),
        (plain, ["images/0001.jpg"]),
    ],
)
def test_label_maps_are_not_taken_for_photographs(
    draw: Callable[[Path], None], photographs: list[str], tmp_path: Path
) -> None:
    draw(tmp_path)
    paths = find_images(tmp_path, recursive=True)
    left = [path for path in paths if path not in label_maps_beside(paths)]
    assert [path.relative_to(tmp_path).as_posix() for path in left] == photographs
    assert len(paths) > len(left)


def test_a_copy_of_a_photograph_is_a_photograph(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3))
    put(tmp_path / "a.jpg", noise)
    put(tmp_path / "a.png", noise)
    put(tmp_path / "b.jpg", noise[..., 0])
    put(tmp_path / "b.png", noise[..., 0])
    put(tmp_path / "c_mask.png", noise)  # of no picture
    assert label_maps_beside(find_images(tmp_path)) == set()
