"""Pascal VOC 2012 with 20 classes, and Pascal Context (on VOC 2010) with 59 and 459.

VOC's label maps hold the class index plus one, 0 for background, 255 at outlines; those that SBD
augmented (SegmentationClassAug) likewise. PAS-20 leaves the background out, PAS-20b counts it as a
class of its own. Pascal Context comes as one .mat file a picture (LabelMap, index plus one of 459)
and, for 59 classes, as one JSON of run lengths whose category ids are those of the 459.

Sizes: H x W pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from escnet.data.layout import Layout, Split, class_names
from escnet.data.mat_file import read_matrix
from escnet.errors import DatasetError
from escnet.small_file import SmallFile
from escnet.vocabulary import BACKGROUND

_VOC12 = "VOCdevkit/VOC2012"
_VOC10 = "VOCdevkit/VOC2010"
_VAL_LIST = f"{_VOC12}/ImageSets/Segmentation/val.txt"
_OUTLINE = 255
_PUBLISHED = SmallFile(noun="", error=DatasetError, cure="fetch it again")
_IGNORE_459 = 459


def _voc(name: str, classes: tuple[str, ...], background: int, prepared: str) -> Split:
    codes = {0: background, _OUTLINE: 255} | {raw: raw - 1 for raw in range(1, 21)}
    # the archive of augmented label maps holds no folder above them
    folders = {"SegmentationClassAug": "SegmentationClassAug", "SegmentationClass": None}
    return Split(
        name=name,
        classes=classes,
        ignore_label=255,
        layouts=(
            *(
                Layout(
                    pictures=f"{_VOC12}/JPEGImages",
                    labels=f"{_VOC12}/{folder}",
                    codes=codes,
                    names_file=_VAL_LIST,
                    downloaded_labels=downloaded,
                )
                for folder, downloaded in folders.items()
            ),
            Layout(pictures=f"{_VOC12}/JPEGImages", labels=f"{_VOC12}/{prepared}/val"),
        ),
        counts=(1_449,),
    )


PAS_20 = _voc("pas-20", class_names("voc20"), 255, "annotations_detectron2")
PAS_20B = _voc("pas-20b", (*class_names("voc20"), BACKGROUND), 20, "annotations_detectron2_bg")
# what predictions of background are asked by: the Context names that are no VOC class
BACKGROUND_NAMES = class_names("voc20b")[20:]

PC_59 = Split(
    name="pc-59",
    classes=class_names("pc59"),
    ignore_label=255,
    layouts=(
        Layout(
            pictures=f"{_VOC10}/JPEGImages",
            labels=f"{_VOC10}/annotations_detectron2/pc59_val",
        ),
        Layout(
            pictures=f"{_VOC10}/JPEGImages",
            labels=f"{_VOC10}/SegmentationClassContext",
            codes={0: 255, 255: 255} | {raw: raw - 1 for raw in range(1, 60)},
            names_file=f"{_VOC10}/ImageSets/SegmentationContext/val.txt",
        ),
    ),
    counts=(5_104, 5_105),
)
PC_459 = Split(
    name="pc-459",
    classes=class_names("pc459"),
    ignore_label=_IGNORE_459,
    layouts=(
        Layout(
            pictures=f"{_VOC10}/JPEGImages",
            labels=f"{_VOC10}/annotations_detectron2/pc459_val",
            label_suffix=".tif",
        ),
    ),
    counts=(5_104, 5_105),
)

_IN_459 = {"diningtable": "table"}  # the one name that the two lists spell differently
CODES_59 = {
    class_names("pc459").index(_IN_459.get(name, name)) + 1: label
    for label, name in enumerate(class_names("pc59"))
}


def labels_of_mat(content: bytes, shown: str) -> UInt16[np.ndarray, "H W"]:
    """Class indices in PC-459 of one of the published .mat files.

    Raises:
        DatasetError: If it cannot be read, or holds other labels than 1..459.
    """
    raw = read_matrix(content, "LabelMap", shown)
    outside = raw[(raw < 1) | (raw > _IGNORE_459) | (raw != np.floor(raw))]
    if outside.size:
        raise DatasetError(f"{shown} holds label {outside[0]}, not 1..459: fetch it again")
    return (raw.astype(np.int64) - 1).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class AnnotatedPicture:
    """What trainval_merged.json says of a picture: its size, and an entry for each class."""

    height: int
    width: int
    entries: list[Mapping[str, Any]]


def read_annotated(content: bytes, shown: str) -> dict[str, AnnotatedPicture]:
    """The pictures of trainval_merged.json whose phase is "val", by stem.

    Args:
        content: The file.
        shown: What errors call it.

    Raises:
        DatasetError: If it is not as published.
    """
    by_id: dict[object, AnnotatedPicture] = {}
    by_stem: dict[str, AnnotatedPicture] = {}
    try:
        table = _PUBLISHED.parsed_json(content, shown)
        for entry in table["images"]:
            if entry["phase"] == "val":
                picture = AnnotatedPicture(int(entry["height"]), int(entry["width"]), [])
                by_id[entry["image_id"]] = picture
                by_stem[PurePosixPath(entry["file_name"]).stem] = picture
        for entry in table["annos_segmentation"]:
            if entry["image_id"] in by_id:
                by_id[entry["image_id"]].entries.append(entry)
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{shown} is not as published ({error!r}): fetch it again") from None
    return by_stem


def labels_of_annotations(picture: AnnotatedPicture, shown: str) -> UInt8[np.ndarray, "H W"]:
    """Class indices in PC-59 of a picture in trainval_merged.json, 255 elsewhere.

    Args:
        picture: Its size and entries; where two entries overlap, the later counts.
        shown: What errors call it.

    Raises:
        DatasetError: If an entry is not as published.
    """
    labels = np.full((picture.height, picture.width), 255, dtype=np.uint8)
    for entry in picture.entries:
        try:
            size_hw = tuple(entry["segmentation"]["size"])
            if size_hw != labels.shape:
                raise ValueError(f"a mask of {size_hw} on a picture of {labels.shape}")
            labels[rle_mask(entry["segmentation"])] = CODES_59.get(int(entry["category_id"]), 255)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DatasetError(f"{shown} has a wrong entry ({error}): fetch it again") from None
    return labels


def rle_mask(rle: Mapping[str, Any]) -> Bool[np.ndarray, "H W"]:
    """The mask of a COCO run length encoding, of numbers or packed into a string."""
    height, width = rle["size"]
    runs = _unpacked(rle["counts"]) if isinstance(rle["counts"], str) else list(rle["counts"])
    if sum(runs) != height * width:
        raise ValueError(f"runs of {sum(runs)} pixels for a mask of {height} x {width}")
    values = np.arange(len(runs)) % 2 == 1  # runs of outside and inside take turns
    return np.repeat(values, runs).reshape(width, height).T  # column by column


def _unpacked(packed: str) -> list[int]:
    """COCO's packed runs: digits of five bits, and from the third run on a difference."""
    runs: list[int] = []
    value = shift = 0
    for digit in (ord(letter) - 48 for letter in packed):
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift  # a negative number's sign fills all higher bits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs
