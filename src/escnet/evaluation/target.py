"""What is evaluated on: pictures with their truth, and the names that a model is asked about.

A benchmark is one target; a folder in the project's own format has one for each of its sources.

Sizes: H x W pixels, M names asked, N classes scored.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from escnet.data.classes_json import SourceLabels
from escnet.data.folder import FolderDataset
from escnet.data.label_map import read_label_map
from escnet.data.labelled_picture import LabelledPicture, ReadLabels
from escnet.data.layout import synonyms_in
from escnet.errors import ConfigError, DatasetError
from escnet.evaluation.metrics import check_labels
from escnet.evaluation.protocol import WHOLE_VIEW, EvalProtocol
from escnet.files import display_path
from escnet.vocabulary import BACKGROUND, Vocabulary


class AskedClasses(NamedTuple):
    """What is asked in place of the classes' own names.

    Attributes:
        names: What a names file says.
        classes: The class that each of its labels is an answer for.
    """

    names: Vocabulary
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalTarget:
    """Pictures, class names and protocol that make one number.

    Attributes:
        name: The benchmark, or the folder's source.
        root: Name of the folder that holds it.
        items: The pictures.
        classes: The classes that are scored, in label order.
        others: Names besides these that a model is asked about where the protocol says that their
            predictions count as background, the last class.
        has_background: Whether the last class is the background.
        ignore_label: The truth's label of pixels that count nowhere.
        read_labels: Reads label maps of others: their values mean what they mean in the truth.
        paper: The protocol that is taken if nobody asks for another.
        asked: What a model is asked in place of the classes; None for the classes.
    """

    name: str
    root: str
    items: tuple[LabelledPicture, ...]
    classes: tuple[str, ...]
    others: tuple[str, ...] = ()
    has_background: bool = False
    ignore_label: int = 255
    read_labels: ReadLabels = read_label_map
    paper: EvalProtocol = WHOLE_VIEW
    asked: AskedClasses | None = None


def folder_targets(dataset: FolderDataset, *, with_background: bool = False) -> list[EvalTarget]:
    """A target for each source that has pictures.

    Args:
        dataset: The pictures.
        with_background: Pixels that are labelled as none of their source's classes are a class of
            their own, the last. Sources that label no such pixels, or annotate only some of their
            classes, are left out. Else such pixels count nowhere.

    Raises:
        DatasetError: If no source is left, or one has a class of that name already.
    """
    names = [name for name in dataset.sources if any(item.source == name for item in dataset)]
    if with_background:
        names = [name for name in names if _has_background(dataset.source(name))]
        _check_background(dataset, names)
    return [_folder_target(dataset, name, with_background=with_background) for name in names]


def _check_background(dataset: FolderDataset, names: Sequence[str]) -> None:
    if not names:
        raise DatasetError(
            f"no source of {display_path(dataset.root)} annotates all its classes and labels what "
            f"is none of them {dataset.background_index}, the background index: one that does "
            'needs "has_background": true in classes.json'
        )
    for name in names:
        if BACKGROUND in {own.casefold() for own in dataset.source(name).classes}:
            raise DatasetError(
                f"source {name!r} of {display_path(dataset.root)} has a class {BACKGROUND!r} "
                "beside the pixels of no class: name it otherwise"
            )


def _has_background(source: SourceLabels) -> bool:
    """Whether pixels of no annotated class are of none of the classes that are asked for."""
    return source.has_background and len(source.annotated) == len(source.classes)


def _folder_target(dataset: FolderDataset, name: str, *, with_background: bool) -> EvalTarget:
    source = dataset.source(name)
    ignored = dataset.ignore_index
    background = len(source.classes) if with_background else ignored
    if with_background and ignored == background:
        ignored += 1
    return EvalTarget(
        name=name,
        root=dataset.root.resolve().name,
        items=tuple(
            replace(item, read=partial(_folder_truth, dataset, item, background, ignored))
            for item in dataset
            if item.source == name
        ),
        classes=(*source.classes, BACKGROUND) if with_background else source.classes,
        has_background=with_background,
        ignore_label=ignored,
        read_labels=partial(_others_labels, dataset, name, background if with_background else -1),
        paper=_protocol_of(dataset),
    )


def _others_labels(
    dataset: FolderDataset, name: str, background: int, path: Path
) -> Integer[np.ndarray, "H W"]:
    """A label map that is not the truth, of classes, this background label, and -1 elsewhere."""
    labels = dataset.read_labels[name](path).astype(np.int64)
    is_ignored = labels == dataset.ignore_index
    is_background = labels == dataset.background_index
    outside = labels[(labels >= len(dataset.source(name).classes)) & ~is_ignored & ~is_background]
    if outside.size:
        raise DatasetError(
            f"prediction {display_path(path)} holds label {outside[0]}, but the last class is "
            f"{len(dataset.source(name).classes) - 1}: name its values by a classes.txt beside it"
        )
    labels[is_ignored], labels[is_background] = -1, background
    return labels


def _protocol_of(dataset: FolderDataset) -> EvalProtocol:
    """How a folder is scored unless somebody asks for more: with what is declared of its values."""
    if dataset.conventions.is_plain:
        return WHOLE_VIEW
    return WHOLE_VIEW.model_copy(update={"labels": dataset.conventions})


def _folder_truth(
    dataset: FolderDataset, item: LabelledPicture, background: int, ignored: int, path: Path
) -> Integer[np.ndarray, "H W"]:
    """A label map whose pixels of no class, and those that count nowhere, have these labels."""
    truth = item.read(path).astype(np.int64)  # holds any ignore index
    dataset.refuse_undeclared(item, truth)
    if background != ignored:  # before a stray label is taken for the new one
        check_labels(
            np.where(truth == dataset.background_index, dataset.ignore_index, truth),
            num_classes=len(dataset.source(item.source).classes),
            ignore_label=dataset.ignore_index,
            shown=item.truth_name,
        )
    is_background, is_ignored = truth == dataset.background_index, truth == dataset.ignore_index
    truth[is_background], truth[is_ignored] = background, ignored
    return truth


class Question:
    """What a model is asked about a target's pictures, and which class each answer is.

    Where the protocol asks by first names, a class whose first name an earlier one has is never the
    answer: the earlier one gets the pixels of both, as of equal scores CAT-Seg takes the first.
    """

    def __init__(self, target: EvalTarget, protocol: EvalProtocol) -> None:
        self._last = len(target.classes) - 1
        self._has_others = protocol.background == "others"
        self._has_rest = protocol.background == "rest"
        if protocol.background in {"rest", "name"} and not target.has_background:
            raise ConfigError(
                f"{target.name} has no class for the background: leave the protocol setting "
                "background at none"
            )
        if target.has_background and not protocol.has_background:
            raise ConfigError(
                f"the last class of {target.name} is the background: set the protocol setting "
                "background to rest, or to name"
            )
        if self._has_others and not target.others:
            raise ConfigError(
                f"{target.name} has no other names that could count as background: "
                "leave the protocol setting background at none"
            )
        self._is_oracle = protocol.vocabulary == "present"
        if target.asked is not None:
            self._all = self._as_asked(target.asked, protocol)
            return
        names = target.classes
        if self._has_others:
            names = (*names[:-1], *target.others)
        elif self._has_rest:
            names = names[:-1]
        queries = _queries_of(names, protocol.names)
        self._asks_again = protocol.names == "first"
        self._entries = list(zip(names, queries, strict=True))
        self._all = self._asking(range(len(names)))

    def about(
        self, truth_classes: Sequence[int]
    ) -> tuple[Vocabulary, Integer[np.ndarray, " M"]] | None:
        """The names for one picture, and the class of each.

        Args:
            truth_classes: The classes in the picture's truth.

        Returns:
            None where there is nothing to ask: every pixel is of the last class then, or of none.
        """
        if not truth_classes:
            return None
        if not self._is_oracle:
            return self._all
        there = set(truth_classes)
        chosen = [i for i in range(len(self._entries)) if self._class_of(i) in there]
        return self._asking(chosen) if chosen else None

    def _as_asked(
        self, asked: AskedClasses, protocol: EvalProtocol
    ) -> tuple[Vocabulary, Integer[np.ndarray, " M"]]:
        if (
            self._is_oracle
            or protocol.background in {"others", "name"}
            or protocol.names != "whole"
        ):
            raise ConfigError(
                "a names file says itself what is asked: leave the protocol settings names, "
                "vocabulary and background (but for rest) as they are"
            )
        classes = [*asked.classes, *([self._last] if self._has_rest else [])]
        return Vocabulary.of(asked.names, has_background=self._has_rest), np.array(classes)

    def _asking(self, chosen: Sequence[int]) -> tuple[Vocabulary, Integer[np.ndarray, " M"]]:
        entries: dict[str, list[str]] = {}
        classes: list[int] = []
        asked: Counter[str] = Counter()
        for index in chosen:
            name, queries = self._entries[index]
            keys = [query.casefold() for query in queries]
            if asked.keys().isdisjoint(keys):
                entries[name] = queries
                classes.append(self._class_of(index))
            asked.update(keys)
        if self._has_rest:  # which results have behind the names
            classes.append(self._last)
        vocabulary = Vocabulary.of(entries, has_background=self._has_rest)
        if self._asks_again:
            times = [asked[query.casefold()] for query in vocabulary.queries]
            vocabulary = _repeated(vocabulary, times)
        return vocabulary, np.array(classes)

    def _class_of(self, index: int) -> int:
        return min(index, self._last) if self._has_others else index


def _repeated(vocabulary: Vocabulary, times: Sequence[int]) -> Vocabulary:
    """The same labels, each query asked as often as it is told; of a label the best one counts."""
    return replace(
        vocabulary,
        queries=tuple(np.repeat(vocabulary.queries, times).tolist()),
        owner=tuple(np.repeat(vocabulary.owner, times).tolist()),
    )


def _queries_of(names: Sequence[str], handling: str) -> list[list[str]]:
    """The texts that each name is asked by; only first names may be those of several.

    A synonym that several names list belongs to the one that lists nothing else, else to the one
    whose first it is, else to the first; a name that is left with nothing is asked as a whole.
    """
    if handling == "whole":
        return [[name] for name in names]
    parts = [synonyms_in(name) for name in names]
    if handling in {"first", "first-once"}:
        return [[first] for first, *_ in parts]
    claims = sorted(
        (own != [name], place > 0, index, place, text)
        for index, (name, own) in enumerate(zip(names, parts, strict=True))
        for place, text in enumerate(own)
    )
    queries: list[list[str]] = [[] for _ in names]
    taken: set[str] = set()
    for *_, index, _, text in claims:
        if text.casefold() not in taken:
            taken.add(text.casefold())
            queries[index].append(text)
    return [own or [name] for name, own in zip(names, queries, strict=True)]
