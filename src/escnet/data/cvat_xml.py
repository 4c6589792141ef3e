"""CVAT's export "CVAT for images 1.1": annotations.xml with polygons and masks, one for a task.

Shapes are drawn in the order in which CVAT shows them, so that the upper one of two counts. Shapes
of other kinds, such as boxes, are no labels of pixels. Documents that declare types or entities are
refused, so nothing expands and nothing is fetched.

Sizes: H x W pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
from jaxtyping import Bool, UInt16

from escnet.data.annotation_file import annotated_reading, check_size, content_of, polygon_mask
from escnet.data.label_table import LabelTable, Row
from escnet.data.reading import FolderOptions, Reading
from escnet.errors import DatasetError
from escnet.files import display_path

_HEAD_BYTES = 4096
_SHAPES = ("polygon", "mask")
_LABEL_NAME = ["labels", "label", "name"]


def cvat_readings(root: Path, _: FolderOptions) -> list[Reading]:
    """The readings as exports of CVAT; empty if there is none.

    Raises:
        DatasetError: If one is wrong.
    """
    files = [root] if root.is_file() else sorted(root.glob("*.xml"))
    return [_reading(path) for path in files if _is_export(path)]


def _is_export(path: Path) -> bool:
    if path.suffix.lower() != ".xml" or not path.is_file():
        return False
    with path.open("rb") as stream:
        return b"<annotations>" in stream.read(_HEAD_BYTES)


@dataclass
class _Image:
    """One picture: its path and that with its subset, its size, and its shapes."""

    names: tuple[str, ...]
    size_hw: tuple[int, int]
    shapes: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)  # kind, attributes


class CvatFile:
    """The pictures of an annotations.xml.

    Args:
        path: The file.

    Attributes:
        table: The labels of the task, in its order.
        pictures: For each picture the paths that it may have.
        without_truth: None; a picture without shapes shows none of the labels.

    Raises:
        DatasetError: If it is not as CVAT's are.
    """

    without_truth = 0

    def __init__(self, path: Path) -> None:
        self._shown = display_path(path)
        self._path: list[str] = []
        self._names: list[str] = []
        self._images: list[_Image] = []
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(content_of(path), True)
        except expat.ExpatError as error:
            reason = f"{expat.ErrorString(error.code)} at line {error.lineno}"
            raise DatasetError(f"{self._shown} is not XML ({reason}): export it again") from None
        except (KeyError, ValueError) as error:
            raise DatasetError(
                f"{self._shown} is not as CVAT's exports are ({error!r}): export it as CVAT for "
                "images 1.1"
            ) from None
        names = dict.fromkeys(name.strip() for name in self._names)
        rows = tuple(Row(name, label) for label, name in enumerate(names, 1))
        self.table = LabelTable(rows, self._shown).checked()
        self._label_of = {name: label for label, name in enumerate(names, 1)}
        self.pictures = {number: image.names for number, image in enumerate(self._images)}

    def labels_of(self, image_id: int) -> UInt16[np.ndarray, "H W"]:
        """The raw labels of a picture: 0, or a label's place.

        Raises:
            DatasetError: If a shape is wrong.
        """
        image = self._images[image_id]
        shown = f"{self._shown}, picture {image.names[0]},"
        check_size(image.size_hw, shown)
        labels = np.zeros(image.size_hw, np.uint16)
        try:
            for kind, shape in sorted(image.shapes, key=lambda one: int(one[1].get("z_order", 0))):
                draw = _mask if kind == "mask" else _filled_polygon
                labels[draw(shape, image.size_hw)] = self._label_of[shape["label"]]
        except (KeyError, ValueError, OverflowError) as error:
            raise DatasetError(f"{shown} has a wrong shape ({error!r}): correct it") from None
        return labels

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)
        if self._path[-3:] == _LABEL_NAME:
            self._names.append("")
        elif tag == "image" and len(self._path) == 2:
            name, subset = attributes["name"], attributes.get("subset", "")
            size_hw = int(attributes["height"]), int(attributes["width"])
            names = (name, f"{subset}/{name}") if subset else (name,)
            self._images.append(_Image(names, size_hw))
        elif tag in _SHAPES and self._path[-2:-1] == ["image"]:
            self._images[-1].shapes.append((tag, attributes))

    def _end(self, _: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        if self._path[-3:] == _LABEL_NAME:
            self._names[-1] += text

    def _refuse(self, *_: object) -> None:
        raise DatasetError(f"{self._shown} declares a document type, which is not read: remove it")


def _filled_polygon(shape: Mapping[str, str], size_hw: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    return polygon_mask([shape["points"].replace(";", ",").split(",")], size_hw)


def _mask(shape: Mapping[str, str], size_hw: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """A mask by its box and the runs in it, outside and inside taking turns, row by row."""
    runs = [int(run) for run in shape["rle"].split(",")]
    left, top, width, height = (int(shape[key]) for key in ("left", "top", "width", "height"))
    fits = 0 <= left <= left + width <= size_hw[1] and 0 <= top <= top + height <= size_hw[0]
    if not fits or min(runs) < 0 or sum(runs) != width * height:
        raise ValueError(f"a mask that does not fit its box of {width} x {height} pixels")
    mask = np.zeros(size_hw, bool)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[top : top + height, left : left + width] = inside.reshape(height, width)
    return mask


def _reading(path: Path) -> Reading:
    places = [path.parent, path.parent / "images"]
    return annotated_reading(
        CvatFile, path, places, layout="cvat", said=f"CVAT's {display_path(path)}"
    )
