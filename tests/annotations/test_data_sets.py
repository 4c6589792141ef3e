"""The formats that are a folder of pictures and label maps: each reads back as it was written."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from escnet.annotations.format import FormatOptions
from escnet.errors import ConfigError, ImageError
from escnet.segmentation import Segmentation, save_all

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # in pycocotools


def indices(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def filled(flat: list[float], shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(run_lengths.decode(run_lengths.frPyObjects([flat], *shape))[..., 0], bool)


def test_yolo_lines_are_shares_of_the_size_and_data_yaml_has_the_names(
    result: Segmentation, tmp_path: Path
) -> None:
    named = replace(result, names=('a "b": c', "sea", "sand", "#4"))
    save_all([named], tmp_path, ["yolo"], options=FormatOptions(tolerance=0.0))
    height, width = result.label_map.shape
    label_map = np.full(result.label_map.shape, 255)
    for line in (tmp_path / "yolo" / "labels" / "beach.txt").read_text().splitlines():
        label, *shares = line.split()
        assert all(0 <= float(share) <= 1 for share in shares)
        corners = np.array(shares, float).reshape(-1, 2) * [width, height]
        label_map[filled(corners.ravel().tolist(), (height, width))] = int(label)
    np.testing.assert_array_equal(label_map, result.label_map)
    text = (tmp_path / "yolo" / "data.yaml").read_text()
    assert "nc: 4\n" in text
    found = [json.loads(name) for name in re.findall(r"^  \d: (.*)$", text, re.MULTILINE)]
    assert found == list(named.names)
    assert indices(tmp_path / "yolo" / "images" / "beach.jpg").shape == (height, width, 3)


def test_cvat_s_colours_stand_in_labelmap_txt(result: Segmentation, tmp_path: Path) -> None:
    save_all([result], tmp_path, ["cvat-mask"])
    folder = tmp_path / "cvat-mask"
    lines = (folder / "labelmap.txt").read_text().splitlines()
    assert lines[:2] == ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    pixels = indices(folder / "SegmentationClass" / "beach.png")
    label_map = np.full(result.label_map.shape, 255)
    for line in lines[2:]:
        name, colour, parts, actions = line.split(":")
        assert (parts, actions) == ("", "")
        is_name = (pixels == [int(value) for value in colour.split(",")]).all(axis=2)
        label_map[is_name] = result.names.index(name)
    np.testing.assert_array_equal(label_map, result.label_map)
    listed = folder / "ImageSets" / "Segmentation" / "default.txt"
    assert listed.read_text() == "beach\n"


def test_a_background_of_ours_is_cvat_s_own(result: Segmentation, tmp_path: Path) -> None:
    named = replace(result, names=("sky", "background", "sand", "x"))
    save_all([named], tmp_path, ["cvat-mask"])
    assert (tmp_path / "cvat-mask" / "labelmap.txt").read_text().count("background") == 1
    pixels = indices(tmp_path / "cvat-mask" / "SegmentationClass" / "beach.png")
    assert (pixels[result.label_map == 1] == 0).all()


@pytest.mark.parametrize("name", ["a:b", "#1"])
def test_names_that_labelmap_txt_cannot_hold_are_refused(
    result: Segmentation, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="cvat-xml"):
        replace(result, names=(name, "sea", "sand", "x")).save(tmp_path, formats=["cvat-mask"])
    assert list(tmp_path.iterdir()) == []


def test_cvat_s_xml_numbers_its_pictures_and_gives_the_label_map_back(
    result: Segmentation, tmp_path: Path
) -> None:
    named = replace(result, names=('<a & "b">', "sea", "sand\0", "x"))
    others = [replace(named, stem=stem, source=None) for stem in ("a", "b")]
    save_all(others, tmp_path, ["cvat-xml"], options=FormatOptions(tolerance=0.0))
    root = ElementTree.parse(tmp_path / "cvat-xml" / "annotations.xml").getroot()  # noqa: S314 -- ours
    names = [label.findtext("name") for label in root.iter("label")]
    assert names == ['<a & "b">', "sea", "sand\ufffd", "x"]
    images = list(root.iter("image"))
    assert [(i.get("id"), i.get("name")) for i in images] == [("0", "a.jpg"), ("1", "b.jpg")]
    label_map = np.full(result.label_map.shape, 255)
    for polygon in images[1].iter("polygon"):
        flat = [float(number) for number in re.split("[,;]", polygon.get("points", ""))]
        label_map[filled(flat, result.label_map.shape)] = names.index(polygon.get("label"))
    np.testing.assert_array_equal(label_map, result.label_map)


def test_voc_s_values_are_indices_plus_one_and_void_is_255(
    result: Segmentation, tmp_path: Path
) -> None:
    save_all([result], tmp_path, ["voc"])
    values = indices(tmp_path / "voc" / "SegmentationClass" / "beach.png")
    expected = np.where(result.label_map == 255, 255, result.label_map.astype(int) + 1)
    np.testing.assert_array_equal(values, expected)
    names = (tmp_path / "voc" / "class_names.txt").read_text().split()
    assert names == ["background", *result.names]
    assert (tmp_path / "voc" / "JPEGImages" / "beach.jpg").is_file()


def test_voc_s_background_is_0_wherever_it_stands(result: Segmentation, tmp_path: Path) -> None:
    named = replace(result, names=("sky", "background", "sand", "x"))
    save_all([named], tmp_path, ["voc"])
    values = indices(tmp_path / "voc" / "SegmentationClass" / "beach.png")
    table = np.zeros(256, int)
    table[[0, 1, 2, 255]] = [1, 0, 2, 255]
    np.testing.assert_array_equal(values, table[result.label_map])
    names = (tmp_path / "voc" / "class_names.txt").read_text().split()
    assert names == ["background", "sky", "sand", "x"]


@pytest.mark.parametrize("kind", ["voc", "mmseg"])
def test_too_many_names_for_8_bits_are_refused(
    result: Segmentation, tmp_path: Path, kind: str
) -> None:
    many = replace(
        result,
        label_map=result.label_map.astype(np.uint16),
        names=tuple(f"n{index}" for index in range(255)),
    )
    with pytest.raises(ConfigError, match="255 class names are more than the 254"):
        many.save(tmp_path, formats=[kind])


def test_mmseg_s_config_is_python_and_its_label_maps_are_indices(
    result: Segmentation, tmp_path: Path
) -> None:
    named = replace(result, names=("it's", '"', "\\", "naïve"))
    save_all([named], tmp_path, ["mmseg"])
    found: dict[str, dict[str, object]] = {}
    exec((tmp_path / "mmseg" / "dataset.py").read_text(), found)  # noqa: S102 -- as mmengine does
    assert found["metainfo"]["classes"] == named.names
    path = tmp_path / "mmseg" / "ann_dir" / "train" / "beach.png"
    np.testing.assert_array_equal(indices(path), result.label_map)
    assert (tmp_path / "mmseg" / "img_dir" / "train" / "beach.jpg").is_file()


def test_hf_datasets_metadata_pairs_pictures_and_labels(
    result: Segmentation, tmp_path: Path
) -> None:
    save_all([result, replace(result, stem="b")], tmp_path, ["hf-datasets"])
    train = tmp_path / "hf-datasets" / "train"
    rows = [json.loads(line) for line in (train / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        np.testing.assert_array_equal(indices(train / row["label_file_name"]), result.label_map)
        assert (train / row["image_file_name"]).is_file()
    id2label = json.loads((train.parent / "id2label.json").read_text())
    assert id2label == {"0": "sky", "1": "sea", "2": "sand", "3": "absent"}


@pytest.mark.parametrize("kind", ["yolo", "voc", "mmseg", "hf-datasets", "overlay"])
def test_formats_that_hold_the_picture_say_that_they_need_it(
    result: Segmentation, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(ImageError, match=f"{kind} needs"):
        replace(result, picture=None).save(tmp_path, formats=[kind])


def test_label_studio_s_tasks_name_the_picture_and_one_brush_for_each_name(
    result: Segmentation, tmp_path: Path
) -> None:
    named = replace(
        result, names=('a "b"', "sea", "sand", "x"), source={"file": "ä b.png", "bytes": 1}
    )
    save_all([named], tmp_path, ["label-studio"])
    (task,) = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=%C3%A4%20b.png"
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("drawn", 0.75)
    regions = prediction["result"]
    assert [r["value"]["brushlabels"] for r in regions] == [['a "b"'], ["sea"], ["sand"]]
    assert len({region["id"] for region in regions}) == 3
    for region in regions:
        assert (region["original_width"], region["original_height"]) == (6, 4)
        assert (region["type"], region["value"]["format"]) == ("brushlabels", "rle")
    root = ElementTree.parse(tmp_path / "label-studio" / "set-up.xml").getroot()  # noqa: S314 -- ours
    assert [label.get("value") for label in root.iter("Label")] == list(named.names)
    brush = root.find("BrushLabels")
    assert brush is not None
    assert (brush.get("name"), brush.get("toName")) == (regions[0]["from_name"], "image")
