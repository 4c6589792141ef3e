"""The project's own dataset format: a folder with images/, masks/ and classes.json.

A picture images/SOURCE__NAME.jpg has its label map in masks/SOURCE__NAME.png. classes.json comes in
two forms:

* {"classes": [...], "sources": {SOURCE: {"annotated": [index, ...], "has_background": bool}}}: one
  list of class names for all sources, of which each source annotates only some.
* {"datasets": {SOURCE: {"classes": [...], "has_background": bool}}}: each source has a list of its
  own and annotates all of it.

Beside them, "ignore_index" (255 where it is missing) marks pixels that nobody labelled, and
"background_index" (254) pixels that are none of the classes their source annotates.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escnet.data.image import IMAGE_SUFFIXES, natural_key
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError, VocabularyError
from escnet.files import shown_path
from escnet.small_file import SmallFile
from escnet.vocabulary import Vocabulary

_CLASSES = SmallFile(
    noun="",
    error=DatasetError,
    cure="correct it there",
    if_missing="a dataset has images/, masks/ and classes.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLabels:
    """What the label maps of one source mean.

    Attributes:
        classes: The class names whose indices the label maps hold.
        annotated: Indices of the class names that this source annotates; a pixel of another class
            is labelled as background or not at all.
        has_background: Whether its label maps hold the background index.
    """

    classes: tuple[str, ...]
    annotated: tuple[int, ...]
    has_background: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDataset:
    """Pictures with label maps, in natural order of their names; made by `read`.

    Attributes:
        root: The folder.
        items: The pictures, each with its label map.
        labels: For each source what its label maps mean, in the order of classes.json.
        ignore_index: The label of pixels that nobody labelled.
        background_index: The label of pixels that are none of the annotated classes.
    """

    root: Path
    items: tuple[LabelledPicture, ...]
    labels: Mapping[str, SourceLabels]
    ignore_index: int
    background_index: int

    @classmethod
    def read(cls, root: str | Path) -> "FolderDataset":
        """The dataset in a folder; pictures and label maps are paired, not opened.

        Raises:
            DatasetError: If classes.json is missing or wrong, there is no picture, or a picture or
                a label map lacks the other.
        """
        root = Path(root)
        shown = shown_path(root / "classes.json")
        table = _CLASSES.object_of(root / "classes.json")
        ignore_index = _index(table, "ignore_index", 255, shown)
        background_index = _index(table, "background_index", 254, shown)
        if ignore_index == background_index:
            raise DatasetError(
                f"{shown} has {ignore_index} as ignore_index and as background_index: "
                "choose two different ones"
            )
        labels = _labels_of(table, shown)
        for name, source in labels.items():
            if (index := min(ignore_index, background_index)) < len(source.classes):
                raise DatasetError(
                    f"{shown} has {len(source.classes)} classes in source {name!r}, so that index "
                    f"{index} means two things: choose larger ignore and background indices"
                )
        return cls(
            root=root,
            items=_items_of(root, labels),
            labels=labels,
            ignore_index=ignore_index,
            background_index=background_index,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, in the order of classes.json."""
        return tuple(self.labels)

    def source(self, name: str) -> SourceLabels:
        """What the label maps of that source mean.

        Raises:
            DatasetError: If there is no such source.
        """
        if name not in self.labels:
            raise DatasetError(f"no source {name!r}: choose from {', '.join(self.labels)}")
        return self.labels[name]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[LabelledPicture]:
        return iter(self.items)


def _items_of(root: Path, labels: Mapping[str, SourceLabels]) -> tuple[LabelledPicture, ...]:
    images = _by_stem(root / "images", IMAGE_SUFFIXES)
    masks = _by_stem(root / "masks", (".png",))
    for stem, path in images.items():
        if stem not in masks:
            raise DatasetError(f"picture {shown_path(path)} lacks its label map masks/{stem}.png")
        if (name := stem.partition("__")[0]) not in labels:
            raise DatasetError(
                f"picture {shown_path(path)} is of source {name!r}, which classes.json lacks: "
                f"name it SOURCE__NAME, SOURCE being one of {', '.join(labels)}"
            )
    for stem, path in masks.items():
        if stem not in images:
            raise DatasetError(f"label map {shown_path(path)} lacks its picture images/{stem}.jpg")
    return tuple(
        LabelledPicture(
            stem=stem, image_path=path, label_path=masks[stem], source=stem.partition("__")[0]
        )
        for stem, path in images.items()
    )


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files with such a suffix by stem, in natural order; hidden files are left out."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 -- raises at once and needs no second look
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"folder {shown_path(folder)} cannot be read ({reason}): "
            "a dataset has images/, masks/ and classes.json"
        ) from None
    paths = sorted((folder / name for name in names if not name.startswith(".")), key=natural_key)
    paths = [path for path in paths if path.suffix.lower() in suffixes]
    if not paths:
        raise DatasetError(
            f"folder {shown_path(folder)} holds no file in {', '.join(suffixes)}: "
            "a dataset has pictures in images/ and label maps in masks/"
        )
    stem, count = Counter(path.stem for path in paths).most_common(1)[0]
    if count > 1:
        raise DatasetError(
            f"folder {shown_path(folder)} has {count} files called {stem!r}: keep one of them"
        )
    return {path.stem: path for path in paths}


def _index(table: dict[str, Any], key: str, default: int, shown: str) -> int:
    index = table.get(key, default)
    if type(index) is not int or not 0 <= index <= 65_535:
        raise DatasetError(f"{shown} has {index!r} as {key}: give an integer in 0..65535")
    return index


def _labels_of(table: dict[str, Any], shown: str) -> dict[str, SourceLabels]:
    form = "sources" if "sources" in table else "datasets"
    sources = table.get(form)
    if not isinstance(sources, dict) or not sources:
        raise DatasetError(
            f"{shown} names no source: it needs 'classes' and 'sources', or 'datasets'"
        )
    shared = _classes_of(table, shown) if form == "sources" else None
    labels = {}
    for name, source in sources.items():
        where = f"{shown}, source {name!r},"
        if not isinstance(source, dict):
            raise DatasetError(f"{where} is a JSON {type(source).__name__}: give an object")
        has_background = source.get("has_background", False)
        if not isinstance(has_background, bool):
            raise DatasetError(f"{where} has {has_background!r} as has_background: give a boolean")
        classes = shared or _classes_of(source, where)
        annotated = _annotated_of(source, len(classes), where) if shared else range(len(classes))
        labels[name] = SourceLabels(
            classes=classes, annotated=tuple(annotated), has_background=has_background
        )
    return labels


def _classes_of(table: dict[str, Any], where: str) -> tuple[str, ...]:
    classes = table.get("classes")
    if not isinstance(classes, list):
        raise DatasetError(f"{where} has no list of 'classes': give the class names in label order")
    try:
        return Vocabulary.of(classes).labels
    except VocabularyError as error:
        raise DatasetError(f"{where} has wrong classes: {error}") from None


def _annotated_of(source: dict[str, Any], num_classes: int, where: str) -> list[int]:
    annotated = source.get("annotated")
    if not isinstance(annotated, list) or not annotated:
        raise DatasetError(f"{where} has no list 'annotated': give the indices that it annotates")
    for index in annotated:
        if type(index) is not int or not 0 <= index < num_classes:
            raise DatasetError(
                f"{where} annotates index {index!r}, but the classes are 0..{num_classes - 1}"
            )
    if len(set(annotated)) < len(annotated):
        raise DatasetError(f"{where} annotates an index twice: leave one out")
    return annotated
