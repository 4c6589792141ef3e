from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run
from escnet.data.check import check_folder
from escnet.data.doubts import doubts_about
from escnet.data.folder import FolderDataset

THREE = np.repeat(np.repeat([[0, 1, 2], [2, 0, 1]], 2, axis=0), 2, axis=1)  # labels in blocks
BLOCKS = np.kron([[0, 2], [2, 0]], np.ones((12, 12))).astype(np.uint8)


def folder(root: Path, *maps: np.ndarray, names: str = "wall\ncat\ncup\n", turned: int = 1) -> Path:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = turned
    for number, labels in enumerate(maps):
        height, width = labels.shape if turned < 5 else labels.shape[::-1]
        picture = Image.new("RGB", (width, height), (90, 80, 70))
        picture.save(root / "images" / f"{number}.jpg", exif=exif)
        Image.fromarray(labels.astype(np.uint8)).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text(names)
    return root


def doubts(root: Path) -> list[str]:
    return doubts_about(FolderDataset.read(root), 100)


def test_a_truth_without_a_fault_raises_no_doubt(tmp_path: Path) -> None:
    labels = BLOCKS.copy()
    labels[0] = 1
    labels[1, :5] = 255
    assert doubts(folder(tmp_path, labels)) == []


def test_masks_of_0_and_255_are_told_with_their_share(tmp_path: Path) -> None:
    labels = np.where(BLOCKS == 2, 255, 0)
    labels[:, :6] = 255  # 12 x 12 + 12 x 6 + 12 x 12 ignored of 24 x 24
    (line,) = doubts(folder(tmp_path, labels, names="background\ncat\n"))
    assert line.startswith("62.5 % of the pixels are ignored (255) and no label map shows cat")
    assert '"0: background" and "255: cat"' in line


def test_the_id_map_that_the_doubt_advises_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "set", np.where(BLOCKS == 2, 255, 0), names="background\ncat\n")
    assert run(["data", "check", str(root)]) == 0
    assert "is 255 the foreground?" in capsys.readouterr().out
    (tmp_path / "ids.txt").write_text("0: background\n255: cat\n")
    assert run(["data", "check", str(root), "--id-map", str(tmp_path / "ids.txt")]) == 0
    out = capsys.readouterr().out
    assert "warning" not in out
    assert "1 cat                       50.0 % of the labelled pixels, in 1 picture" in out


def test_classes_that_no_label_map_shows_are_counted(tmp_path: Path) -> None:
    root = folder(tmp_path, BLOCKS, names="wall\ncat\ncup\ndog\n")
    assert doubts(root) == ["2 of 4 classes are in no label map: cat, dog"]


def test_of_a_part_of_the_pictures_nothing_is_said_about_classes(tmp_path: Path) -> None:
    dataset = FolderDataset.read(folder(tmp_path, BLOCKS, np.full((4, 4), 1)))
    assert doubts_about(dataset, 1) == []
    assert doubts_about(dataset, 2) == []


def test_more_than_half_ignored_is_told(tmp_path: Path) -> None:
    labels = np.full((10, 10), 255)
    labels[0] = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    (line,) = doubts(folder(tmp_path, labels))
    assert line == "90 % of the pixels are ignored: is the ignored value right?"


@pytest.mark.parametrize("way", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_a_label_map_that_was_resized_with_smoothing_is_told(
    way: Image.Resampling, tmp_path: Path
) -> None:
    smooth = Image.fromarray(BLOCKS).resize((100, 100), way)
    (line,) = doubts(folder(tmp_path, np.asarray(smooth)))
    assert line.startswith("1 of 1 label maps have (first: 0) values that lie between")


def test_a_label_map_that_was_resized_without_smoothing_is_not(tmp_path: Path) -> None:
    sharp = Image.fromarray(BLOCKS).resize((100, 100), Image.Resampling.NEAREST)
    assert doubts(folder(tmp_path, np.asarray(sharp))) == [
        "1 of 3 classes are in no label map: cat"
    ]


@pytest.mark.parametrize(
    ("shape", "orientation", "doubted"),
    [((8, 8), 6, True), ((8, 6), 6, False), ((8, 6), 3, True), ((8, 8), 1, False)],
)
def test_an_orientation_that_the_size_cannot_confirm_is_told(
    shape: tuple[int, int], orientation: int, doubted: bool, tmp_path: Path
) -> None:
    labels = np.zeros(shape, int)
    found = doubts(folder(tmp_path, labels, turned=orientation))
    said = [f"orientation {orientation})" in line for line in found]
    assert any(said) == doubted


def test_a_class_called_unlabelled_is_told(tmp_path: Path) -> None:
    (line,) = doubts(folder(tmp_path, THREE, names="void\ncat\ncup\n"))
    assert line.startswith("class 0 is called 'void' and is scored like any other")


def test_a_folders_checksum_is_that_of_its_result_and_bad_pairs_are_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "set", BLOCKS, THREE)
    report = check_folder(FolderDataset.read(root))
    assert report.is_good
    assert [pictures for _, pictures, _ in report.sources["set"]] == [2, 1, 2]
    arguments = ["--predictions", str(root / "masks"), "--out", str(tmp_path / "out")]
    assert run(["evaluate", str(root), *arguments, "--pictures", "0"]) == 0
    text = (tmp_path / "out" / "set-masks.json").read_text()
    assert report.checksum["set"] in text
    assert '"miou_in_truth": 1.0' in text
    Image.new("L", (3, 3)).save(root / "masks" / "0.png")
    Image.new("L", (6, 4), 9).save(root / "masks" / "1.png")
    assert run(["data", "check", str(root)]) == 1
    out = capsys.readouterr().out
    assert "problems: 2" in out
    assert "is 3 x 3, but its picture is 24 x 24" in out
    assert "holds label 9 in 100 % of its pixels" in out


def test_a_name_that_is_neither_a_folder_nor_published_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["data", "check", "nothing"]) == 2
    assert "no folder or data set 'nothing': give a folder" in capsys.readouterr().err
    assert run(["data", "check", "a-150"]) == 2
    assert "data set a-150 needs its folder: add --data ROOT" in capsys.readouterr().err
