"""classes.json of the project's own folders: what the label maps of each source mean.

It comes in three forms:

* {"classes": [...], "sources": {SOURCE: {"annotated": [index, ...], "has_background": bool}}}: one
  list of class names for all sources, of which each source annotates only some.
* {"datasets": {SOURCE: {"classes": [...], "has_background": bool}}}: each source has a list of its
  own and annotates all of it.
* {"classes": [...]}: a plain list, of a folder that is one source.

Beside them, "ignore_index" (255 where it is missing) marks pixels that nobody labelled, and
"background_index" (254) pixels that are none of the classes their source annotates. "zero_is",
"offset" and "ids" declare what `conventions.Conventions` can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escnet.data.conventions import Conventions
from escnet.data.label_table import Row
from escnet.errors import ConfigError, DatasetError, VocabularyError
from escnet.files import display_path
from escnet.small_file import SmallFile
from escnet.vocabulary import Vocabulary

_CLASSES = SmallFile(noun="", error=DatasetError, cure="correct it there")
_CONVENTIONS = ("zero_is", "offset", "ids")


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
class ClassesJson:
    """What a classes.json says.

    Attributes:
        sources: For each source what its label maps mean; empty where it names none.
        ignore_index: The value of pixels that nobody labelled.
        background_index: The value of pixels that are none of the annotated classes.
        says_background: Whether the file says so, or it is the usual value.
        conventions: What else is declared of the values.
        shown: What messages call the file.
    """

    sources: Mapping[str, SourceLabels]
    ignore_index: int
    background_index: int
    says_background: bool
    conventions: Conventions
    shown: str

    @classmethod
    def read(cls, path: Path) -> "ClassesJson | None":
        """What the file says; None if there is no such file, or it is a bare list of names.

        Raises:
            DatasetError: If it cannot be read, or is wrong.
        """
        shown = display_path(path)
        if not path.is_file():
            return None
        table = _CLASSES.json_of(path)
        if not isinstance(table, dict):
            return None
        ignore_index = _index(table, "ignore_index", 255, shown)
        background_index = _index(table, "background_index", 254, shown)
        if ignore_index == background_index:
            raise DatasetError(
                f"{shown} has {ignore_index} as ignore_index and as background_index: "
                "choose two different ones"
            )
        names_sources = "sources" in table or "datasets" in table
        sources = _labels_of(table, shown) if names_sources else {}
        return cls(
            shown=shown,
            sources=sources,
            ignore_index=ignore_index,
            background_index=background_index,
            says_background="background_index" in table,
            conventions=_conventions_of(table, shown),
        )

    def refuse_two_meanings(self) -> None:
        """Refuse an index of a class that is no class; that of a class "unlabelled" it may be.

        Raises:
            DatasetError: If there is one.
        """
        for name, source in self.sources.items():
            for index in (self.ignore_index, self.background_index):
                if index < len(source.classes) and not Row(source.classes[index]).is_rest:
                    raise DatasetError(
                        f"{self.shown} has {len(source.classes)} classes in source {name!r}, so "
                        f"that index {index} means two things, {source.classes[index]!r} and none "
                        "of them: choose another index, or, where 0 is unlabelled and the classes "
                        'begin with 1, write "zero_is": "unlabelled"'
                    )


def _conventions_of(table: Mapping[str, Any], shown: str) -> Conventions:
    declared = {key: table[key] for key in _CONVENTIONS if key in table}
    try:
        return Conventions.declared(**declared)
    except ConfigError as error:
        raise DatasetError(f"{shown} has a wrong convention: {error}") from None


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
