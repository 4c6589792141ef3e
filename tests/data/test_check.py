import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published import PUBLISHED, W, picture, png, rows, write_files, write_packed

from escnet.data.check import CheckReport, check_split, pair_checksum
from escnet.data.layout import Split
from escnet.data.prepare import prepare
from escnet.data.splits import find_split
from escnet.errors import DatasetError, ImageError


def prepared(name: str, folder: Path) -> Split:
    """The data set, below the folder, as if two pictures were all that is published."""
    split = replace(find_split(name), counts=(2,))
    prepare(split, write_packed(folder / "downloads", PUBLISHED[name]()[0]), folder)
    return split


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_good_data_set_has_no_problems(name: str, tmp_path: Path) -> None:
    report = check_split(prepared(name, tmp_path), tmp_path)
    assert report.problems == ()
    assert report.is_good
    assert (report.num_pairs, report.num_labels, report.expected) == (2, 2, (2,))
    assert len(report.checksum) == 64


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_number_of_pictures_that_was_not_published_is_a_problem(
    name: str, tmp_path: Path
) -> None:
    prepared(name, tmp_path)
    report = check_split(find_split(name), tmp_path)
    (problem,) = report.problems
    published = " or ".join(str(count) for count in find_split(name).counts)
    assert problem == f"2 pictures with label maps, but {published} are published"
    assert not report.is_good


def a_150(folder: Path, *, change: dict[str, bytes]) -> CheckReport:
    split = prepared("a-150", folder)
    write_files(folder / "ADEChallengeData2016", change)
    return check_split(split, folder)


LABELS = "annotations/validation/ADE_val_0000000"
PICTURES = "images/validation/ADE_val_0000000"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({f"{LABELS}2.png": png(rows([151] * W))}, r"00002\.png holds raw label 151"),
        ({f"{LABELS}2.png": png(rows([1] * 9))}, r"00002\.png is 9 x 6, but its picture is 8 x 6"),
        ({f"{LABELS}2.png": png(rows([1] * W))[:50]}, r"00002\.png .*cut off"),
        ({f"{LABELS}2.png": picture(kind="PNG")}, r"00002\.png holds \d+ colours"),
        ({f"{PICTURES}2.jpg": b"no picture"}, r"00002\.jpg"),
        ({f"{PICTURES}2.jpg": b""}, r"00002\.jpg is empty"),
        ({f"{LABELS}9.png": b""}, "label map ADE_val_00000009 has no picture"),
        ({f"{PICTURES}9.jpg": b""}, "picture ADE_val_00000009 has no label map"),
    ],
)
def test_the_offender_is_named_in_one_line(
    change: dict[str, bytes], problem: str, tmp_path: Path
) -> None:
    (told,) = a_150(tmp_path, change=change).problems
    assert re.search(problem, told)
    assert told.isprintable()


def test_prepared_label_maps_may_hold_no_other_labels(tmp_path: Path) -> None:
    top = "VOCdevkit/VOC2010"
    wrong = png(rows([59] * W))
    split = prepared("pc-59", tmp_path)
    write_files(tmp_path, {f"{top}/annotations_detectron2/pc59_val/2008_000003.png": wrong})
    (problem,) = check_split(split, tmp_path).problems
    assert "2008_000003.png holds label 59, but pc-59 has classes 0..58 and ignores 255" in problem


def test_problems_come_in_the_order_of_the_names_lone_files_first(tmp_path: Path) -> None:
    bad = {f"{LABELS}{n}.png": b"no" for n in (2, 1)} | {f"{PICTURES}3.jpg": b""}
    alone, first, second = a_150(tmp_path, change=bad).problems
    assert alone == "picture ADE_val_00000003 has no label map"
    assert "ADE_val_00000001.png" in first
    assert "ADE_val_00000002.png" in second


def test_listed_pictures_without_a_label_map_are_named(tmp_path: Path) -> None:
    split = prepared("pas-20", tmp_path)
    top = tmp_path / "VOCdevkit/VOC2012"
    (top / "ImageSets/Segmentation/val.txt").write_text("2007_000033\n2007_000042\n2007_5\n")
    (top / "SegmentationClassAug/2007_000042.png").unlink()
    count, first, second = check_split(split, tmp_path).problems
    assert "1 pictures with label maps, but 2 are published" in count
    assert "2007_000042 is in VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt" in first
    assert "2007_5" in second


def test_equal_data_has_one_checksum_however_its_label_maps_are_stored(tmp_path: Path) -> None:
    split = prepared("a-150", tmp_path)
    raw = check_split(split, tmp_path)
    converted = tmp_path / "other"
    top = "ADEChallengeData2016"
    for pair in split.read(tmp_path):
        write_files(
            converted / top,
            {
                f"images/validation/{pair.image_path.name}": pair.image_path.read_bytes(),
                f"annotations_detectron2/validation/{pair.stem}.png": png(
                    pair.read_truth().astype("u1"), palette=True
                ),
            },
        )
    again = check_split(split, converted)
    assert again.labels == f"{top}/annotations_detectron2/validation"
    assert again.checksum == raw.checksum


@pytest.mark.parametrize("path", [f"{LABELS}1.png", f"{PICTURES}1.jpg"])
def test_other_labels_or_pictures_have_another_checksum(path: str, tmp_path: Path) -> None:
    before = check_split(prepared("a-150", tmp_path), tmp_path)
    other = png(rows([7] * W)) if "annot" in path else picture(seed=99)
    after = a_150(tmp_path, change={path: other})
    assert after.is_good
    assert after.checksum != before.checksum


def test_the_checksum_tells_a_turned_label_map_from_the_other(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    labels = np.arange(6, dtype=np.uint8)
    sums = {pair_checksum(tmp_path / "a.jpg", labels.reshape(size)) for size in ((2, 3), (3, 2))}
    assert len(sums) == 2
    assert pair_checksum(tmp_path / "a.jpg", labels.reshape(2, 3).astype(np.int64)) in sums
    with pytest.raises(ImageError, match=r"b\.jpg cannot be read"):
        pair_checksum(tmp_path / "b.jpg", labels.reshape(2, 3))


def test_pictures_are_counted_aloud(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_split(prepared("camvid", tmp_path), tmp_path, lambda *numbers: seen.append(numbers))
    assert seen == [(1, 2), (2, 2)]


def test_a_root_without_the_data_set_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no camvid \(looked for CamVid/test with CamVid"):
        check_split(find_split("camvid"), tmp_path)
    write_files(tmp_path, {"CamVid/test/1.png": b"", "CamVid/testannot/2.png": b""})
    with pytest.raises(DatasetError, match=r"no picture in .*CamVid/test has a label map in "):
        check_split(find_split("camvid"), tmp_path)


def test_an_unknown_data_set_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match="no data set 'ade': choose from a-847, pc-459, a-150"):
        find_split("ade")
