import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from escnet.data.check import check_split
from escnet.data.coco_stuff import COCO_STUFF
from escnet.data.pascal import CODES_59, PAS_20B, PC_459, labels_of_annotations, rle_mask
from escnet.data.prepare import prepare


def png(values: list[list[int]]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.array(values, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(height: int = 1, width: int = 4) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def mat(values: list[list[int]]) -> bytes:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    array = np.array(values, np.uint16)
    matrix = element(
        14,
        element(6, struct.pack("<II", 11, 0))
        + element(5, struct.pack("<ii", *array.shape))
        + element(1, b"LabelMap")
        + element(4, array.tobytes(order="F")),
    )
    packed = zlib.compress(matrix)
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    return head + struct.pack("<II", 15, len(packed)) + packed


def test_coco_stuff_comes_out_of_its_archives_and_raw_ids_become_classes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "val2017.zip", "w") as archive:
        archive.writestr("val2017/1.jpg", jpeg())
        archive.writestr("val2017/2.jpg", jpeg())
    with zipfile.ZipFile(tmp_path / "stuffthingmaps_trainval2017.zip", "w") as archive:
        archive.writestr("val2017/1.png", png([[0, 12, 181, 255]]))
        archive.writestr("val2017/2.png", b"no picture")
    done = prepare(COCO_STUFF, tmp_path, tmp_path / "root")
    assert (done.num_written, len(done.bad)) == (3, 1)
    (item,) = COCO_STUFF.read(tmp_path / "root")
    assert item.read_truth().tolist() == [[0, 11, 170, 255]]
    assert prepare(COCO_STUFF, tmp_path, tmp_path / "root").num_kept == 3


def test_voc_with_background_reads_only_listed_pictures(tmp_path: Path) -> None:
    voc = tmp_path / "VOCdevkit/VOC2012"
    put(voc / "ImageSets/Segmentation/val.txt", b"a\n")
    for stem in "ab":
        put(voc / f"JPEGImages/{stem}.jpg", jpeg())
        put(voc / f"SegmentationClassAug/{stem}.png", png([[0, 1, 20, 255]]))
    (item,) = PAS_20B.read(tmp_path)
    assert item.read_truth().tolist() == [[20, 0, 19, 255]]


def test_context_459_is_read_from_packed_mat_files(tmp_path: Path) -> None:
    put(tmp_path / "pascalcontext_val.txt", b"a\n")
    put(tmp_path / "VOC2010/JPEGImages/a.jpg", jpeg(2, 3))
    put(tmp_path / "trainval/a.mat", mat([[1, 2, 3], [459, 5, 6]]))
    assert not prepare(PC_459, tmp_path, tmp_path / "root").bad
    (item,) = PC_459.read(tmp_path / "root")
    assert item.read_truth().tolist() == [[0, 1, 2], [458, 4, 5]]
    report = check_split(PC_459, tmp_path / "root")
    assert len(report.problems) == 1
    assert "1 pictures with label maps" in report.problems[0]


def test_run_lengths_go_column_by_column() -> None:
    mask = rle_mask({"size": [2, 3], "counts": [1, 3, 2]})
    assert mask.tolist() == [[False, True, False], [True, True, False]]
    assert rle_mask({"size": [2, 3], "counts": "132"}).tolist() == mask.tolist()


def test_context_59_has_the_published_category_ids() -> None:
    assert len(CODES_59) == 59
    assert [CODES_59[raw] for raw in (2, 9, 18, 458)] == [0, 1, 2, 58]
    entry = {"segmentation": {"size": [1, 2], "counts": [1, 1]}, "category_id": 2}
    assert labels_of_annotations([entry], 1, 2, "x").tolist() == [[255, 0]]


def test_a_wrong_size_and_a_wrong_label_are_named(tmp_path: Path) -> None:
    root = tmp_path / "coco-stuff"
    for stem, values in {"1": [[0]], "2": [[200, 0, 0, 0]]}.items():
        put(root / f"images/val2017/{stem}.jpg", jpeg())
        put(root / f"annotations/val2017/{stem}.png", png(values))
    first, size, label = check_split(COCO_STUFF, tmp_path).problems
    assert "5000" in first
    assert "1 x 1" in size
    assert "raw label 200" in label
