"""What people corrected in CVAT and Label Studio, read as truth from the exports as they come."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.format import FormatOptions
from escnet.annotations.rle import brush_mask, brush_rle
from escnet.data.folder import FolderDataset
from escnet.data.reading import FolderOptions
from escnet.errors import DatasetError
from escnet.segmentation import Segmentation, save_all
from tests.colour_method import colour_labels, colour_picture

H, W = 20, 30
NAMES = ("red", "green", "blue")


def picture(path: Path, size_wh: tuple[int, int] = (W, H)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh, (90, 80, 70)).save(path)


def truth(root: Path, **options: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    dataset = FolderDataset.read(root, FolderOptions(**options))
    (item,) = dataset
    return item.read_truth(), dataset.source(dataset.sources[0]).classes


def corrected() -> Segmentation:
    return Segmentation(
        label_map=colour_labels(),
        confidence=np.ones((30, 40), np.float32),
        names=NAMES,
        picture=colour_picture(),
        stem="a",
        source={"file": "a.png", "bytes": 1, "sha256": "00"},
    )


# Label Studio


def region(kind: str, name: str, **value: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "original_width": W,
        "original_height": H,
        "image_rotation": 0,
        "value": {kind: [name], **value},
    }


def task(*regions: dict[str, Any], image: str = "/data/upload/3/0a1b2c3d-a.jpg") -> dict[str, Any]:
    return {"id": 5, "data": {"text": "a", "image": image}, "annotations": [{"result": regions}]}


def export(root: Path, *tasks: dict[str, Any]) -> Path:
    picture(root / "a.jpg")
    (root / "project-3.json").write_text(json.dumps(tasks))
    return root


LEFT = np.arange(W)[None].repeat(H, 0) < 10
BRUSH = region("brushlabels", "sky", format="rle", rle=brush_rle(LEFT))
POLYGON = region("polygonlabels", "road", points=[[50, 50], [100, 50], [100, 100], [50, 100]])


def test_brush_masks_and_polygons_are_labels_and_the_rest_is_no_class(tmp_path: Path) -> None:
    labels, names = truth(export(tmp_path, task(BRUSH, POLYGON)))
    assert names == ("road", "sky")
    expected = np.full((H, W), 254)
    expected[LEFT] = 1
    expected[10:, 15:] = 0
    np.testing.assert_array_equal(labels, expected)


def test_where_regions_of_two_labels_overlap_nothing_counts(tmp_path: Path) -> None:
    half = np.arange(W)[None].repeat(H, 0) < 5
    other = region("brushlabels", "tree", format="rle", rle=brush_rle(half))
    labels, _ = truth(export(tmp_path, task(BRUSH, other)))
    assert (labels[half] == 255).all()
    assert (labels[LEFT & ~half] == 0).all()


def test_the_annotation_that_was_changed_last_counts_and_a_skipped_one_never(
    tmp_path: Path,
) -> None:
    old = {"updated_at": "2026-01-01T10:00:00Z", "result": [POLYGON]}
    new = {"updated_at": "2026-01-02T10:00:00Z", "result": [BRUSH]}
    skipped = {"updated_at": "2026-01-03", "was_cancelled": True, "result": [POLYGON]}
    many = task() | {"annotations": [new, old, skipped]}
    nobody = task(image="/data/local-files/?d=photos/b.jpg") | {"annotations": []}
    labels, names = truth(export(tmp_path, many, nobody))
    assert names == ("sky",)
    assert (labels[LEFT] == 0).all()


@pytest.mark.parametrize(
    "image",
    [
        "/data/local-files/?d=photos/monday/a.jpg",
        "https://example.com/photos/a.jpg?size=full",
        "s3://bucket/photos/a.jpg",
        "/data/upload/3/0a1b2c3d-a.jpg",
        "a.jpg",
    ],
)
def test_pictures_are_looked_for_by_the_end_of_their_address(tmp_path: Path, image: str) -> None:
    labels, _ = truth(export(tmp_path, task(BRUSH, image=image)))
    assert labels.shape == (H, W)


def test_what_we_wrote_for_label_studio_is_read_back_once_it_is_an_annotation(
    tmp_path: Path,
) -> None:
    save_all([corrected()], tmp_path, ["label-studio"])
    (written,) = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    done = {"data": written["data"], "annotations": written["predictions"]}
    Image.fromarray(colour_picture()).save(tmp_path / "a.png")
    (tmp_path / "export.json").write_text(json.dumps([done]))
    labels, names = truth(tmp_path / "export.json")
    assert names == ("blue", "green", "red")
    np.testing.assert_array_equal(labels, 2 - colour_labels())


@pytest.mark.parametrize(
    "wrong",
    [
        task(region("brushlabels", "sky", format="rle", rle=[1, 2, 3])),
        task(region("brushlabels", "sky", format="rle", rle=brush_rle(LEFT)[:-30])),
        task(region("brushlabels", "sky", format="rle", rle=brush_rle(LEFT.T[:5]))),
        task(region("brushlabels", "sky", format="rle", rle=["x"])),
        task(region("polygonlabels", "sky", points=[[1, 2], [3, 4]])),
        task(region("polygonlabels", "sky", points=[[1e300, 2], [3, 4], [5, 6]])),
        task(BRUSH, {**POLYGON, "original_width": 7}),
        task({**BRUSH, "image_rotation": 90}),
        task(BRUSH) | {"annotations": 3},
        task(BRUSH) | {"data": {}},
        task(BRUSH, image="../../a.jpg"),
        task(BRUSH, image="absent.jpg"),
    ],
)
def test_a_wrong_export_is_refused_in_one_line(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(DatasetError) as refusal:
        truth(export(tmp_path, wrong))
    assert "\n" not in str(refusal.value)


def test_any_stream_of_a_brush_ends_in_a_mask_or_an_error() -> None:
    rng = np.random.default_rng(0)
    good = brush_rle(rng.random((9, 7)) < 0.3)
    for _ in range(300):
        broken = np.array(good)
        broken[rng.integers(0, len(good), 3)] = rng.integers(0, 256, 3)
        try:
            assert brush_mask(broken.tolist(), (9, 7)).shape == (9, 7)
        except ValueError:
            continue


# CVAT

_XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels>
<label><name>road</name><attributes><attribute><name>wet</name></attribute></attributes></label>
<label><name>sky &amp; sea</name></label></labels></job></meta>
<image id="0" name="a.jpg" subset="Train" width="30" height="20">{shapes}</image></annotations>"""


def annotations(root: Path, shapes: str, place: str = "images/Train/a.jpg") -> Path:
    picture(root / place)
    (root / "annotations.xml").write_text(_XML.format(shapes=shapes))
    return root


SQUARE = '<polygon label="road" points="2.0,3.0;10,3;10,9;2,9" z_order="{z}"></polygon>'
MASK = (
    '<mask label="sky &amp; sea" rle="1, 2, 4, 2" left="8" top="7" width="3" height="3" '
    'z_order="1"></mask>'
)


@pytest.mark.parametrize("z", [0, 2])
def test_polygons_and_masks_are_drawn_in_cvat_s_order(tmp_path: Path, z: int) -> None:
    root = annotations(tmp_path, SQUARE.format(z=z) + MASK + '<box label="road" xtl="0"></box>')
    labels, names = truth(root)
    assert names == ("road", "sky & sea")
    square = np.zeros((H, W), bool)
    square[3:9, 2:10] = True
    mask = np.zeros((H, W), bool)
    mask[7:10, 8:11] = [[0, 1, 1], [0, 0, 0], [0, 1, 1]]
    expected = np.full((H, W), 254)
    for one, label in ((square, 0), (mask, 1)) if z == 0 else ((mask, 1), (square, 0)):
        expected[one] = label
    np.testing.assert_array_equal(labels, expected)


def test_what_we_wrote_for_cvat_is_read_back(tmp_path: Path) -> None:
    save_all([corrected()], tmp_path, ["cvat-xml"], options=FormatOptions(tolerance=0.0))
    root = tmp_path / "cvat-xml"
    picture(root / "images" / "a.png", (40, 30))
    labels, names = truth(root)
    assert names == NAMES
    np.testing.assert_array_equal(labels, colour_labels())


@pytest.mark.parametrize(
    "shapes",
    [
        "<polygon",
        '<polygon points="1,2;3,4;5,6"></polygon>',
        '<polygon label="tree" points="1,2;3,4;5,6"></polygon>',
        '<polygon label="road" points="1,2;3,4"></polygon>',
        '<polygon label="road" points="1,2;3,x;5,6"></polygon>',
        '<polygon label="road" points="1,2;3,4;5,nan"></polygon>',
        MASK.replace("1, 2, 4, 2", "1, 2"),
        MASK.replace("1, 2, 4, 2", "-1, 4, 4, 2"),
        MASK.replace('left="8"', 'left="29"'),
        MASK.replace('width="3"', ""),
        SQUARE.format(z="x"),
        '</image><image id="1" name="b.jpg" width="30" height="20">',
        '</image><image id="1" name="a.jpg" width="30">',
    ],
)
def test_a_wrong_annotations_xml_is_refused_in_one_line(tmp_path: Path, shapes: str) -> None:
    with pytest.raises(DatasetError) as refusal:
        truth(annotations(tmp_path, shapes))
    assert "\n" not in str(refusal.value)


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    root = annotations(tmp_path, SQUARE.format(z=0))
    text = (root / "annotations.xml").read_text()
    entity = '?>\n<!DOCTYPE annotations [<!ENTITY a "b">]>'
    (root / "annotations.xml").write_text(text.replace("?>", entity, 1))
    with pytest.raises(DatasetError, match="document type"):
        truth(root)
