"""COCO JSON: pictures, categories and annotations as polygons or run lengths, in one file.

Labels are the places of the categories in the order of their ids. Where annotations of two
categories overlap, nobody can say which is meant: those pixels count nowhere.

Sizes: H x W pixels.
"""

import json
import mmap
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt16

from escnet.data.annotation_file import (
    add_mask,
    annotated_reading,
    check_size,
    content_of,
    polygon_mask,
)
from escnet.data.folder_layouts import chosen_split
from escnet.data.label_table import LabelTable, Row
from escnet.data.pascal import rle_mask
from escnet.data.reading import FolderOptions, Reading
from escnet.errors import DatasetError
from escnet.files import display_path

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_MOST_LISTED = 1_000  # files in a folder that are looked into


def coco_readings(root: Path, options: FolderOptions) -> list[Reading]:
    """The reading as COCO JSON; empty if there is no such file.

    Raises:
        DatasetError: If there are several and no split tells which is meant, or one is wrong.
    """
    if root.is_file():
        return [_reading(root, root.parent, None)] if _is_coco(root) else []
    folders = [root, root / "annotations", root / "Annotations"]
    files = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.glob("*.json"))[:_MOST_LISTED]
        if _is_coco(path)
    ]
    if not files:
        return []
    names = {_split_of(path): path for path in files}
    if len(names) < len(files):
        shown = ", ".join(path.name for path in files)
        raise DatasetError(
            f"{display_path(root)} has several COCO files ({shown}): give the path of one of them"
        )
    split = chosen_split(list(names), options, root)
    return [_reading(names[split], root, split if len(names) > 1 else None)]


def _split_of(path: Path) -> str:
    """What tells a file from its neighbours: "val2017" of instances_val2017.json."""
    return re.sub(r"^(instances|stuff|person_keypoints)_", "", path.stem)


def _is_coco(path: Path) -> bool:
    """Whether a JSON file has COCO's three lists; of a large one nothing is loaded."""
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size < 2:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text[:1] in {b"{", b" ", b"\n"} and all(text.find(key) >= 0 for key in _KEYS)


class CocoFile:
    """The pictures of a COCO JSON file, with their annotations.

    Args:
        path: The file.

    Attributes:
        table: The categories, in the order of their ids; labels count from one.
        pictures: File name of each picture, by its id.
        without_truth: None of them.

    Raises:
        DatasetError: If it is not as COCO's are.
    """

    without_truth = 0  # a picture without annotations is of none of the categories

    def __init__(self, path: Path) -> None:
        self._shown = display_path(path)
        text = content_of(path)
        try:
            content = json.loads(text)
            categories = sorted(content["categories"], key=lambda category: category["id"])
            images, annotations = content["images"], content["annotations"]
            self._label_of = {c["id"]: place for place, c in enumerate(categories, 1)}
            names = [str(category["name"]) for category in categories]
            self.pictures = {image["id"]: (str(image["file_name"]),) for image in images}
            self._sizes = {i["id"]: (int(i["height"]), int(i["width"])) for i in images}
            self._annotations = defaultdict(list)
            for annotation in annotations:
                self._annotations[annotation["image_id"]].append(annotation)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{self._shown} is not JSON ({error}): fetch it again") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{self._shown} is not as COCO's files are ({error!r}): export it again"
            ) from None
        self.table = LabelTable(
            tuple(Row(name, label) for label, name in enumerate(names, 1)), self._shown
        ).checked()

    def labels_of(self, image_id: object) -> UInt16[np.ndarray, "H W"]:
        """The raw labels of a picture: 0, a category's place, or OVERLAP.

        Raises:
            DatasetError: If an annotation is wrong.
        """
        shown = f"{self._shown}, picture {self.pictures[image_id][0]},"
        size_hw = self._sizes[image_id]
        check_size(size_hw, shown)
        labels = np.zeros(size_hw, np.uint16)
        for annotation in self._annotations[image_id]:
            try:
                label = self._label_of[annotation["category_id"]]
                mask = _mask_of(annotation["segmentation"], size_hw)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                number = annotation.get("id", "?") if isinstance(annotation, dict) else "?"
                raise DatasetError(
                    f"{shown} has a wrong annotation {number} ({error!r}): correct it"
                ) from None
            add_mask(labels, mask, label)
        return labels


def _mask_of(segmentation: Any, size_hw: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    if isinstance(segmentation, Mapping):
        if tuple(segmentation["size"]) != size_hw:
            raise ValueError(f"size {segmentation['size']} on a picture of {list(size_hw)}")
        return rle_mask(segmentation)
    return polygon_mask(segmentation, size_hw)


def _reading(path: Path, root: Path, split: str | None) -> Reading:
    said = f"COCO JSON {display_path(path)} (pixels of two categories count nowhere)"
    return annotated_reading(
        CocoFile, path, _places(path, root), layout="coco", said=said, split=split
    )


def _places(path: Path, root: Path) -> list[Path]:
    """Where the pictures of a file may be."""
    split = _split_of(path)
    above = path.parent.parent if path.parent.name.casefold() == "annotations" else path.parent
    tops = dict.fromkeys((path.parent, root, above))
    inner = ("", split, "images", f"images/{split}", "img", "data", f"data/{split}", "JPEGImages")
    return [top / name for top in tops for name in inner]
