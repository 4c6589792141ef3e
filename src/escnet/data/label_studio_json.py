"""Label Studio's export "JSON": tasks with annotations of brush masks and polygons, in one file.

Of each task the annotation that was changed last counts, skipped ones never. Where regions of two
labels overlap, those pixels count nowhere. Regions of other kinds are no labels of pixels.

Sizes: H x W pixels.
"""

import json
import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from jaxtyping import Bool, UInt16

from escnet.annotations.rle import brush_mask
from escnet.data.annotation_file import (
    add_mask,
    annotated_reading,
    check_size,
    content_of,
    polygon_mask,
)
from escnet.data.label_table import LabelTable, Row
from escnet.data.reading import FolderOptions, Reading
from escnet.errors import DatasetError
from escnet.files import display_path

_KEYS = (b'"annotations"', b'"result"', b'"data"')
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?P<name>.+)")  # what Label Studio calls uploaded files


def label_studio_readings(root: Path, _: FolderOptions) -> list[Reading]:
    """The readings as exports of Label Studio; empty if there is none.

    Raises:
        DatasetError: If one is wrong.
    """
    files = [root] if root.is_file() else sorted(root.glob("*.json"))
    return [_reading(path) for path in files if _is_export(path)]


def _is_export(path: Path) -> bool:
    """Whether a file is a JSON list with the words of an export; nothing is loaded."""
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size < 2:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text[:64].lstrip()[:1] == b"[" and all(text.find(key) >= 0 for key in _KEYS)


class LabelStudioFile:
    """The labelled pictures of an export.

    Args:
        path: The file.

    Attributes:
        table: The labels that its regions have, in the order of the alphabet.
        pictures: For each task the paths that its picture may have.
        without_truth: Tasks without annotation.

    Raises:
        DatasetError: If it is not as Label Studio's are.
    """

    def __init__(self, path: Path) -> None:
        self._shown = display_path(path)
        text = content_of(path)
        self.pictures: dict[int, tuple[str, ...]] = {}
        self.without_truth = 0
        self._regions: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
        try:
            for number, task in enumerate(json.loads(text)):
                regions = list(_regions(_last(task)))
                if not regions:
                    self.without_truth += 1
                    continue
                self._regions[number] = regions
                self.pictures[number] = tuple(dict.fromkeys(_names(task)))
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{self._shown} is not JSON ({error}): export it again") from None
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise DatasetError(
                f"{self._shown} is not as Label Studio's exports are ({error!r}): export it as JSON"
            ) from None
        labels = {name for regions in self._regions.values() for name, _ in regions}
        rows = tuple(Row(name, place) for place, name in enumerate(sorted(labels), 1))
        self._label_of = {row.name: row.label or 0 for row in rows}
        self.table = LabelTable(rows, self._shown).checked() if rows else LabelTable((), "")

    def labels_of(self, image_id: int) -> UInt16[np.ndarray, "H W"]:
        """The raw labels of a task's picture: 0, a label's place, or OVERLAP.

        Raises:
            DatasetError: If a region is wrong.
        """
        shown = f"{self._shown}, picture {self.pictures[image_id][0]},"
        regions = self._regions[image_id]
        try:
            (size_hw,) = {(int(r["original_height"]), int(r["original_width"])) for _, r in regions}
            check_size(size_hw, shown)
            labels = np.zeros(size_hw, np.uint16)
            for name, region in regions:
                if region.get("image_rotation"):
                    raise ValueError("a region of a turned picture")
                add_mask(labels, _mask_of(region["value"], size_hw), self._label_of[name])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DatasetError(f"{shown} has a wrong region ({error!r}): correct it") from None
        return labels


def _last(task: Mapping[str, Any]) -> list[Any]:
    """The regions of the annotation that was changed last."""
    annotations = [one for one in task["annotations"] if not one.get("was_cancelled")]
    if not annotations:
        return []
    newest = max(annotations, key=lambda one: str(one.get("updated_at", "")))
    return list(newest["result"])


def _regions(result: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The label of each region that covers pixels, with the region."""
    for region in result:
        value = region.get("value", {})
        names = value.get(region.get("type")) if "rle" in value or "points" in value else None
        if isinstance(names, list) and names:
            yield str(names[0]), region


def _mask_of(value: Mapping[str, Any], size_hw: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    if "rle" in value:
        return brush_mask(value["rle"], size_hw)
    height, width = size_hw
    corners = [(x * width / 100, y * height / 100) for x, y in value["points"]]  # of percent
    return polygon_mask([[number for corner in corners for number in corner]], size_hw)


def _names(task: Mapping[str, Any]) -> Iterator[str]:
    """The paths that a task's picture may have: as it was served, its name, that before upload."""
    texts = [value for value in task["data"].values() if isinstance(value, str)]
    addresses = [text for text in texts if PurePosixPath(_path_in(text)).suffix]
    path = PurePosixPath(_path_in(addresses[0]).lstrip("/"))
    for start in range(len(path.parts)):
        yield "/".join(path.parts[start:])
    if uploaded := _UPLOADED.fullmatch(path.name):
        yield uploaded["name"]


def _path_in(address: str) -> str:
    """The path of a file in what a task says of its picture: a URL, or a place on a server."""
    parts = urlsplit(address)
    queried = parse_qs(parts.query)
    return queried.get("d", queried.get("filepath", [unquote(parts.path)]))[0]


def _reading(path: Path) -> Reading:
    said = f"Label Studio's {display_path(path)} (pixels of two labels count nowhere)"
    places = [path.parent / name for name in ("", "images", "media", "upload")]
    return annotated_reading(LabelStudioFile, path, places, layout="label-studio", said=said)
