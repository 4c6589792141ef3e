"""Where a published data set keeps its pictures and label maps, and what its raw labels mean.

Sizes: H x W pixels.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from escnet.data.label_map import read_label_map
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError
from escnet.files import display_path
from escnet.small_file import SmallFile

_UNKNOWN = -1  # a raw label that the layout does not know; no class and no ignore label
_RAW_LABELS = 65_536
_LIST = SmallFile(noun="list", error=DatasetError, cure="fetch it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which a data set lies on disk.

    Attributes:
        pictures: Folder of the pictures, below the root.
        labels: Folder of the label maps, below the root.
        picture_suffix: ".jpg" or ".png".
        label_suffix: ".png" or ".tif".
        codes: From raw label to class index or ignore label; None where they are the same.
        names_file: List of the stems that belong to the split; None takes every label map.
        downloaded_pictures: End of the folder's path in the downloads, if not that of `pictures`.
        downloaded_labels: The same of `labels`.
    """

    pictures: str
    labels: str
    picture_suffix: str = ".jpg"
    label_suffix: str = ".png"
    codes: Mapping[int, int] | None = None
    names_file: str | None = None
    downloaded_pictures: str | None = None
    downloaded_labels: str | None = None

    def is_in(self, root: Path) -> bool:
        """Whether the root holds the folders, and the list if there is one."""
        return (
            (root / self.pictures).is_dir()
            and (root / self.labels).is_dir()
            and (self.names_file is None or (root / self.names_file).is_file())
        )

    def read_labels(self, path: Path) -> Integer[np.ndarray, "H W"]:
        """The class index of every pixel.

        Raises:
            DatasetError: If the file cannot be read, or holds a raw label of no meaning.
        """
        raw = read_label_map(path)
        return raw if self.codes is None else decoded(raw, self.codes, display_path(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The published part of a data set that something is trained or scored on.

    Attributes:
        name: Such as "a-150".
        classes: Class names in label order.
        ignore_label: The label of pixels that count nowhere.
        layouts: The ways in which it may lie on disk, the first that is found is taken.
        counts: The published numbers of pictures; two where the literature has two.
    """

    name: str
    classes: tuple[str, ...]
    ignore_label: int
    layouts: tuple[Layout, ...]
    counts: tuple[int, ...]

    def layout_in(self, root: str | Path) -> Layout:
        """The layout that the root holds.

        Raises:
            DatasetError: If it holds none.
        """
        root = Path(root)
        for layout in self.layouts:
            if layout.is_in(root):
                return layout
        first = self.layouts[0]
        raise DatasetError(
            f"{display_path(root)} holds no {self.name} (looked for {first.pictures} with "
            f"{first.labels}): give the folder above them, or make them with "
            f"`escnet data prepare {self.name}`"
        )

    def read(self, root: str | Path) -> list[LabelledPicture]:
        """The pictures that have a label map, in the order of their names; none is opened.

        Raises:
            DatasetError: If the root does not hold the data set, or no picture has a label map.
        """
        root = Path(root)
        layout = self.layout_in(root)
        pictures, labels = picture_files(root, layout), label_files(root, layout)
        stems = sorted(pictures.keys() & labels.keys())
        if not stems:
            raise DatasetError(
                f"no picture in {display_path(root / layout.pictures)} has a label map in "
                f"{display_path(root / layout.labels)}: name both alike, or make them again with "
                f"`escnet data prepare {self.name}`"
            )
        return [
            LabelledPicture(
                stem=stem,
                image_path=pictures[stem],
                label_path=labels[stem],
                source=self.name,
                read=layout.read_labels,
            )
            for stem in stems
        ]


def picture_files(root: Path, layout: Layout) -> dict[str, Path]:
    """The pictures of a layout by stem, of the split if it has a list of names."""
    return _listed(root, layout, _by_stem(root / layout.pictures, layout.picture_suffix))


def label_files(root: Path, layout: Layout) -> dict[str, Path]:
    """The label maps of a layout by stem, of the split if it has a list of names."""
    return _listed(root, layout, _by_stem(root / layout.labels, layout.label_suffix))


def listed_names(root: Path, layout: Layout) -> list[str] | None:
    """The stems of the split, None where the layout has no list.

    Raises:
        DatasetError: If the list cannot be read.
    """
    if layout.names_file is None:
        return None
    return stems_in(_LIST.bytes_of(root / layout.names_file))


def stems_in(content: bytes) -> list[str]:
    """The stems that a list gives, one a line, the first word of each."""
    lines = content.decode("utf-8", "replace").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def decoded(
    raw: Integer[np.ndarray, "H W"], codes: Mapping[int, int], shown: str
) -> Integer[np.ndarray, "H W"]:
    """Raw labels as class indices.

    Raises:
        DatasetError: If there is a raw label that is not in `codes`.
    """
    table = np.full(_RAW_LABELS, _UNKNOWN, dtype=np.int64)
    table[list(codes)] = list(codes.values())
    labels = table[raw]
    unknown = raw[labels == _UNKNOWN]
    if unknown.size:
        raise DatasetError(
            f"label map {shown} holds raw label {unknown[0]}, which means nothing there: "
            "fetch the published label maps again"
        )
    return labels


def synonyms_in(name: str) -> list[str]:
    """The synonyms that a class name lists: "building, edifice" is two."""
    return [part.strip() for part in re.split(r"[,;]", name) if part.strip()] or [name]


@cache
def class_names(name: str) -> tuple[str, ...]:
    """A list of class names that comes with the program, in label order."""
    text = (files("escnet.data") / "classes" / f"{name}.json").read_text("utf-8")
    return tuple(entry.strip() for entry in json.loads(text))


def _by_stem(folder: Path, suffix: str) -> dict[str, Path]:
    return {
        path.stem: path
        for path in folder.iterdir()
        if path.suffix.lower() == suffix and not path.name.startswith(".")
    }


def _listed(root: Path, layout: Layout, files: dict[str, Path]) -> dict[str, Path]:
    names = listed_names(root, layout)
    if names is None:
        return files
    return {name: files[name] for name in names if name in files}
