"""COCO JSON: pictures, categories and annotations as polygons or run lengths, in one file.

A picture's truth is drawn from its annotations: raw label 0 where there is none, else the place of
the category in the order of their ids, counted from one. Where annotations of two categories
overlap, nobody can say which is meant: those pixels count nowhere.

Sizes: H x W pixels.
"""

import json
import math
import mmap
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt16
from pycocotools import mask as coco_mask

from escnet.data.conventions import BACKGROUND_LABEL, IGNORED
from escnet.data.folder_layouts import chosen_split
from escnet.data.label_map import read_label_map
from escnet.data.label_table import LabelTable, Row
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.limits import MAX_PIXELS
from escnet.data.pascal import rle_mask
from escnet.data.reading import FolderOptions, Reading
from escnet.errors import DatasetError
from escnet.files import shown_path

OVERLAP = 65_535
_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_MOST_BYTES = 4 * 2**30
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
            f"{shown_path(root)} has several COCO files ({shown}): give the path of one of them"
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

    Raises:
        DatasetError: If it is not as COCO's are.
    """

    def __init__(self, path: Path) -> None:
        self._shown = shown_path(path)
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise DatasetError(f"{self._shown} is larger than 4 GiB: split it")
            content = json.loads(path.read_bytes())
            categories = sorted(content["categories"], key=lambda category: category["id"])
            images, annotations = content["images"], content["annotations"]
            self._label_of = {c["id"]: place for place, c in enumerate(categories, 1)}
            names = [str(category["name"]) for category in categories]
            self.pictures = {image["id"]: str(image["file_name"]) for image in images}
            self._sizes = {i["id"]: (int(i["height"]), int(i["width"])) for i in images}
            self._annotations = defaultdict(list)
            for annotation in annotations:
                self._annotations[annotation["image_id"]].append(annotation)
        except OSError as error:
            raise DatasetError(
                f"{self._shown} cannot be read ({error.strerror}): check it"
            ) from None
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
        shown = f"{self._shown}, picture {self.pictures[image_id]},"
        size_hw = self._sizes[image_id]
        if min(size_hw) < 1 or math.prod(size_hw) > MAX_PIXELS:
            raise DatasetError(f"{shown} has {size_hw[1]} x {size_hw[0]} pixels: correct it")
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
            labels[mask] = np.where(np.isin(labels[mask], (0, label)), label, OVERLAP)
        return labels


def _mask_of(segmentation: Any, size_hw: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    if isinstance(segmentation, Mapping):
        if tuple(segmentation["size"]) != size_hw:
            raise ValueError(f"size {segmentation['size']} on a picture of {list(size_hw)}")
        return rle_mask(segmentation)
    polygons = [_polygon(points, size_hw) for points in segmentation]
    if not polygons:
        return np.zeros(size_hw, bool)
    drawn = coco_mask.merge(coco_mask.frPyObjects(polygons, *size_hw))
    return rle_mask({"size": drawn["size"], "counts": drawn["counts"].decode("ascii")})


def _polygon(points: Any, size_hw: tuple[int, int]) -> list[float]:
    """A polygon x, y, x, y, ... that the library can draw.

    Raises:
        ValueError: If it has less than three points, or one far outside the picture.
    """
    numbers = [float(value) for value in points]
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"a polygon of {len(numbers)} numbers")
    most = 4 * max(size_hw) + 1_000  # the library walks along each edge, however long
    if not all(abs(value) <= most for value in numbers):
        raise ValueError("a point far outside the picture")
    return numbers


@lru_cache(maxsize=4)
def _file_at(path: Path, changed: int, size: int) -> CocoFile:
    del changed, size  # a file that was written again is another one
    return CocoFile(path)


def _opened(path: Path) -> CocoFile:
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(
            f"{shown_path(path)} cannot be read ({error.strerror}): check it"
        ) from None
    return _file_at(path, status.st_mtime_ns, status.st_size)


class CocoLabels:
    """Reads one picture's labels off a COCO JSON file, which is parsed once in each process."""

    def __init__(self, image_id: object) -> None:
        self._image_id = image_id

    def __call__(self, path: Path) -> UInt16[np.ndarray, "H W"]:
        return _opened(path).labels_of(self._image_id)


def _reading(path: Path, root: Path, split: str | None) -> Reading:
    file = _opened(path)
    places = _places(path, root)
    pictures, missing = [], []
    for image_id, name in file.pictures.items():
        image_path = _picture_of(name, places)
        if image_path is None:
            missing.append(name)
            continue
        pictures.append(
            LabelledPicture(
                stem=Path(name).with_suffix("").as_posix(),
                image_path=image_path,
                label_path=path,
                read=CocoLabels(image_id),
            )
        )
    if not pictures or missing:
        looked = ", ".join(shown_path(place) for place in places[:4])
        first = missing[0] if missing else "none"
        raise DatasetError(
            f"{len(missing)} of {len(file.pictures)} pictures of {shown_path(path)} are not there, "
            f"the first is {first} (looked in {looked}): put them there"
        )
    _refuse_equal_stems(pictures, path)
    return Reading(
        layout="coco",
        said=f"COCO JSON {shown_path(path)} (pixels of two categories count nowhere)",
        pictures=tuple(sorted(pictures, key=lambda picture: picture.stem)),
        table=file.table,
        usual={0: BACKGROUND_LABEL, OVERLAP: IGNORED},
        read_others=read_label_map,
        split=split,
    )


def _refuse_equal_stems(pictures: Iterable[LabelledPicture], path: Path) -> None:
    stems: set[str] = set()
    for picture in pictures:
        if picture.stem in stems:
            raise DatasetError(
                f"{shown_path(path)} lists two pictures called {picture.stem!r}: keep one"
            )
        stems.add(picture.stem)


def _places(path: Path, root: Path) -> list[Path]:
    """Where the pictures of a file may be."""
    split = _split_of(path)
    above = path.parent.parent if path.parent.name.casefold() == "annotations" else path.parent
    tops = dict.fromkeys((path.parent, root, above))
    inner = ("", split, "images", f"images/{split}", "img", "data", f"data/{split}", "JPEGImages")
    folders = [top / name for top in tops for name in inner]
    return [place for place in dict.fromkeys(folders) if place.is_dir()]


def _picture_of(name: str, places: Sequence[Path]) -> Path | None:
    """The picture of a name that comes from a file, which may not lead out of the folders."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise DatasetError(f"COCO's picture {name!r} lies outside the folder: correct its path")
    return next((place / name for place in places if (place / name).is_file()), None)
