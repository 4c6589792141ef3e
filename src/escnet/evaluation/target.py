"""What is evaluated on: pictures with their truth, and the names that a model is asked about.

A benchmark is one target; a folder in the project's own format has one for each of its sources.

Sizes: H x W pixels, M names asked, N classes scored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from escnet.data.folder import FolderDataset, FolderItem
from escnet.data.image import shown_path
from escnet.data.label_map import read_label_map
from escnet.data.layout import synonyms_in
from escnet.errors import ConfigError, DatasetError
from escnet.evaluation.protocol import WHOLE_VIEW, EvalProtocol
from escnet.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalItem:
    """One picture with its truth.

    Attributes:
        stem: Its name, unique in the target.
        image_path: The picture.
        read_truth: Reads the label map.
        truth_shown: What messages call the label map.
    """

    stem: str
    image_path: Path
    read_truth: Callable[[], Integer[np.ndarray, "H W"]]
    truth_shown: str


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
        ignore_label: The truth's label of pixels that count nowhere.
        paper: The protocol that is taken if nobody asks for another.
    """

    name: str
    root: str
    items: tuple[EvalItem, ...]
    classes: tuple[str, ...]
    others: tuple[str, ...] = ()
    ignore_label: int = 255
    paper: EvalProtocol = WHOLE_VIEW


def folder_targets(dataset: FolderDataset) -> list[EvalTarget]:
    """A target for each source that has pictures; pixels of no class count nowhere."""
    return [
        EvalTarget(
            name=name,
            root=dataset.root.resolve().name,
            items=tuple(
                EvalItem(
                    stem=item.stem,
                    image_path=item.image_path,
                    read_truth=partial(_folder_truth, dataset, item),
                    truth_shown=f"label map {shown_path(item.mask_path)}",
                )
                for item in dataset
                if item.source == name
            ),
            classes=dataset.source(name).classes,
            ignore_label=dataset.ignore_index,
        )
        for name in dataset.sources
        if any(item.source == name for item in dataset)
    ]


def _folder_truth(dataset: FolderDataset, item: FolderItem) -> Integer[np.ndarray, "H W"]:
    truth = read_label_map(item.mask_path).astype(np.int64)  # holds any ignore index
    _refuse_undeclared(truth, dataset, item)
    return np.where(truth == dataset.background_index, dataset.ignore_index, truth)


def _refuse_undeclared(
    truth: Integer[np.ndarray, "H W"], dataset: FolderDataset, item: FolderItem
) -> None:
    """Refuse labels that classes.json says the picture's source does not use.

    Raises:
        DatasetError: If there is one.
    """
    source = dataset.source(item.source)
    where = f"label map {shown_path(item.mask_path)} holds label"
    cure = f"or label these pixels {dataset.ignore_index}, which counts nowhere"
    if not source.has_background and (truth == dataset.background_index).any():
        raise DatasetError(
            f"{where} {dataset.background_index}, the background, which source {item.source!r} "
            f'does not have: give it "has_background": true in classes.json, {cure}'
        )
    undeclared = sorted(set(range(len(source.classes))) - set(source.annotated))
    found = truth[np.isin(truth, undeclared)]
    if found.size:
        raise DatasetError(
            f"{where} {found[0]}, {source.classes[found[0]]!r}, which source {item.source!r} does "
            f'not annotate: add it to "annotated" in classes.json, {cure}'
        )


class Question:
    """What a model is asked about a target's pictures, and which class each answer is.

    A class whose first name an earlier one has is not asked about, where the protocol asks by first
    names: CAT-Seg, which asks the name for both, gives every pixel to the earlier one.
    """

    def __init__(self, target: EvalTarget, protocol: EvalProtocol) -> None:
        self._last = len(target.classes) - 1
        self._has_others = protocol.background == "others"
        if self._has_others and not target.others:
            raise ConfigError(
                f"{target.name} has no other names that could count as background: "
                "leave the protocol setting background at none"
            )
        names = (*target.classes[:-1], *target.others) if self._has_others else target.classes
        queries = _queries_of(names, protocol.names)
        self._entries = list(zip(names, queries, strict=True))
        self._is_oracle = protocol.vocabulary == "present"
        self._all = self._asking(range(len(names)))

    def about(
        self, truth_classes: Sequence[int]
    ) -> tuple[Vocabulary, Integer[np.ndarray, " M"]] | None:
        """The names for one picture, and the class of each.

        Args:
            truth_classes: The classes in the picture's truth; without any nothing is asked.
        """
        if not truth_classes:
            return None
        if not self._is_oracle:
            return self._all
        there = set(truth_classes)
        return self._asking([i for i in range(len(self._entries)) if self._class_of(i) in there])

    def _asking(self, chosen: Sequence[int]) -> tuple[Vocabulary, Integer[np.ndarray, " M"]]:
        entries: dict[str, list[str]] = {}
        classes: list[int] = []
        asked: set[str] = set()
        for index in chosen:
            name, queries = self._entries[index]
            if asked.isdisjoint(query.casefold() for query in queries):
                entries[name] = queries
                classes.append(self._class_of(index))
                asked.update(query.casefold() for query in queries)
        return Vocabulary.of(entries), np.array(classes)

    def _class_of(self, index: int) -> int:
        return min(index, self._last) if self._has_others else index


def _queries_of(names: Sequence[str], handling: str) -> list[list[str]]:
    """The texts that each name is asked by; only first names may be those of several.

    A synonym that several names list belongs to the one that lists nothing else, else to the one
    whose first it is, else to the first; a name that is left with nothing is asked as a whole.
    """
    if handling == "whole":
        return [[name] for name in names]
    parts = [synonyms_in(name) for name in names]
    if handling == "first":
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
    return [found or [name] for name, found in zip(names, queries, strict=True)]
