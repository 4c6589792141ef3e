"""One file with the annotations of many pictures, such as COCO JSON: what such layouts share.

A picture's truth is drawn from its annotations: raw label 0 where there is none, else the place of
the name, counted from one. `OVERLAP` is where annotations of two names claim a pixel, and nothing
says which of them is meant.

Sizes: H x W pixels.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt16
from pycocotools import mask as coco_mask

from escnet.data.conventions import BACKGROUND_LABEL, IGNORED
from escnet.data.label_map import read_label_map
from escnet.data.label_table import LabelTable
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.limits import MAX_PIXELS
from escnet.data.pascal import rle_mask
from escnet.data.reading import Reading
from escnet.errors import DatasetError
from escnet.files import display_path

OVERLAP = 65_535
_MOST_BYTES = 4 * 2**30


@runtime_checkable
class AnnotationFile(Protocol):
    """A parsed file."""

    @property
    def table(self) -> LabelTable:
        """The names; labels count from one."""

    @property
    def pictures(self) -> Mapping[Any, Sequence[str]]:
        """The paths that a picture may have below its folder, the likeliest first, by its id."""

    @property
    def without_truth(self) -> int:
        """Pictures that nobody has labelled."""

    def labels_of(self, image_id: Any) -> UInt16[np.ndarray, "H W"]:
        """The raw labels of a picture: 0, a name's place, or OVERLAP.

        Raises:
            DatasetError: If an annotation is wrong.
        """


Parse = Callable[[Path], AnnotationFile]


def content_of(path: Path) -> bytes:
    """The bytes of a file of annotations.

    Raises:
        DatasetError: If it cannot be read, or is larger than 4 GiB.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DatasetError(f"{display_path(path)} is larger than 4 GiB: split it")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def opened(parse: Parse, path: Path) -> AnnotationFile:
    """The parsed file; the last ones are kept, in each process.

    Raises:
        DatasetError: If it cannot be read, or `parse` refuses it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _file_at(parse, path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _file_at(parse: Parse, path: Path, changed: int, size: int) -> AnnotationFile:
    del changed, size  # a file that was written again is another one
    return parse(path)


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{display_path(path)} cannot be read ({error.strerror}): check it")


class AnnotatedLabels:
    """Reads one picture's raw labels off a file, which is parsed once in each process."""

    def __init__(self, parse: Parse, image_id: Hashable) -> None:
        self._parse, self._image_id = parse, image_id

    def __call__(self, path: Path) -> UInt16[np.ndarray, "H W"]:
        return opened(self._parse, path).labels_of(self._image_id)


def check_size(size_hw: tuple[int, int], shown: str) -> None:
    """Refuse a picture's size that is none, or beyond what is read.

    Raises:
        DatasetError: If it is.
    """
    if min(size_hw) < 1 or math.prod(size_hw) > MAX_PIXELS:
        raise DatasetError(f"{shown} has {size_hw[1]} x {size_hw[0]} pixels: correct it")


def add_mask(labels: UInt16[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"], label: int) -> None:
    """Draw an annotation where order says nothing: pixels of another one become `OVERLAP`."""
    labels[mask] = np.where(np.isin(labels[mask], (0, label)), label, OVERLAP)


def polygon_mask(
    polygons: Iterable[Iterable[Any]], size_hw: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
    """The pixels of polygons, each x, y, x, y, ..., drawn as COCO draws them.

    Raises:
        ValueError: If one has less than three points, or one far outside the picture.
        TypeError: If a coordinate is no number.
    """
    checked = [_polygon(points, size_hw) for points in polygons]
    if not checked:
        return np.zeros(size_hw, bool)
    drawn = coco_mask.merge(coco_mask.frPyObjects(checked, *size_hw))
    return rle_mask({"size": drawn["size"], "counts": drawn["counts"].decode("ascii")})


def _polygon(points: Iterable[Any], size_hw: tuple[int, int]) -> list[float]:
    numbers = [float(value) for value in points]
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"a polygon of {len(numbers)} numbers")
    most = 4 * max(size_hw) + 1_000  # the library walks along each edge, however long
    if not all(abs(value) <= most for value in numbers):
        raise ValueError("a point far outside the picture")
    return numbers


def annotated_reading(
    parse: Parse,
    path: Path,
    places: Iterable[Path],
    *,
    layout: str,
    said: str,
    split: str | None = None,
) -> Reading:
    """The reading of a file whose pictures lie in one of some places.

    Raises:
        DatasetError: If the file is wrong, or pictures are missing, outside, or called alike.
    """
    file = opened(parse, path)
    folders = [place for place in dict.fromkeys(places) if place.is_dir()]
    pictures: dict[str, LabelledPicture] = {}
    missing = []
    for image_id, names in file.pictures.items():
        inside = _picture_of(names, folders)
        if inside is None:
            missing.append(names[0])
            continue
        name, image_path = inside
        stem = Path(name).with_suffix("").as_posix()
        if stem in pictures:
            raise DatasetError(f"{display_path(path)} lists two pictures called {stem!r}: keep one")
        pictures[stem] = LabelledPicture(
            stem=stem,
            image_path=image_path,
            label_path=path,
            read=AnnotatedLabels(parse, image_id),
        )
    if not pictures or missing:
        looked = ", ".join(display_path(place) for place in folders[:4])
        first = missing[0] if missing else "none"
        raise DatasetError(
            f"{len(missing)} of {len(file.pictures)} pictures of {display_path(path)} are not "
            f"there, the first is {first} (looked in {looked}): put them there"
        )
    return Reading(
        layout=layout,
        said=said,
        pictures=tuple(pictures[stem] for stem in sorted(pictures)),
        table=file.table,
        usual={0: BACKGROUND_LABEL, OVERLAP: IGNORED},
        read_others=read_label_map,
        without_truth=file.without_truth,
        split=split,
    )


def _picture_of(names: Sequence[str], places: Sequence[Path]) -> tuple[str, Path] | None:
    """The first name that is a file, with its path; a name may not lead out of the places."""
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise DatasetError(
                f"the annotated picture {name!r} lies outside the folder: correct its path"
            )
        for place in places:
            if (place / name).is_file():
                return name, place / name
    return None
