"""Sources of labelled pictures, brought to one vocabulary.

Sizes: H x W pixels of a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.splits import find_split
from escnet.errors import ConfigError, DatasetError
from escnet.files import shown_path
from escnet.training.data_config import SourceSection
from escnet.training.loss import NONE_OF_THEM, UNKNOWN
from escnet.training.mixture import LEAST_SHARE

FOLDER = "folder"  # what `SourceSection.data` calls the project's own format

_NO_MEANING = -3  # a label that the source's description lacks
_NUM_LABELS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Labelled pictures of one kind.

    Attributes:
        pictures: None of them opened yet.
        annotated: Indices into the vocabulary of the names that it annotates.
        table: For each label of its maps an index into the vocabulary, NONE_OF_THEM, or UNKNOWN.
    """

    pictures: Sequence[LabelledPicture]
    annotated: tuple[int, ...]
    table: Int[np.ndarray, " 65536"]

    def read(self, row: int) -> tuple[UInt8[np.ndarray, "H W 3"], Int[np.ndarray, "H W"]]:
        """A picture and its labels, as indices into the vocabulary, NONE_OF_THEM, or UNKNOWN.

        Raises:
            ImageError: If the picture cannot be read.
            DatasetError: If the label map cannot, is of another size, or holds unknown labels.
        """
        files = self.pictures[row]
        picture, raw = read_image(files.image_path), files.read_truth()
        if picture.shape[:2] != raw.shape:
            raise DatasetError(
                f"label map of {shown_path(files.image_path)} has {raw.shape[1]} x {raw.shape[0]} "
                f"pixels, but the picture {picture.shape[1]} x {picture.shape[0]}: save it anew"
            )
        labels = self.table[raw]
        if (labels == _NO_MEANING).any():
            raise DatasetError(
                f"label map of {shown_path(files.image_path)} holds label "
                f"{raw[labels == _NO_MEANING][0]}, which means nothing there: correct it"
            )
        return picture, labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All sources of a run, and the one vocabulary that their labels are indices of."""

    sources: tuple[Source, ...]
    names: tuple[str, ...]


def read_sources(sections: Sequence[SourceSection]) -> Sources:
    """The sources of a recipe; the same name in two of them is one name.

    Raises:
        ConfigError: If a section asks for something that its data do not have.
        DatasetError: If the data are not there.
    """
    names: dict[str, int] = {}
    sources: list[Source] = []
    for index, section in enumerate(sections):
        if section.data == FOLDER:
            sources.extend(_folder_sources(section, index, names))
        elif section.only:
            raise ConfigError(
                f"pictures.sources.{index}.only is {section.only!r}, but {section.data} has no "
                "parts: leave it out"
            )
        else:
            sources.append(_published_source(section, names))
    return Sources(sources=tuple(sources), names=tuple(names))


def source_weights(sections: Sequence[SourceSection], sources: Sources) -> list[float]:
    """Each source's share; a folder's is divided among its sources by their pictures.

    Raises:
        ConfigError: If a section's share is next to nothing.
    """
    whole = sum(section.weight for section in sections)
    for index, section in enumerate(sections):
        if section.weight < LEAST_SHARE * whole:
            raise ConfigError(
                f"pictures.sources.{index}.weight is {section.weight}, less than one picture in "
                f"{round(1 / LEAST_SHARE)}: raise it, or leave the source out"
            )
    weights: list[float] = []
    rest = list(sources.sources)
    for section in sections:
        if section.data != FOLDER or section.only:
            mine = [rest.pop(0)]
        else:
            dataset = FolderDataset.read(section.root)
            mine = [rest.pop(0) for _ in _shown_sources(dataset)]
        total = sum(len(source.pictures) for source in mine)
        weights.extend(section.weight * len(source.pictures) / total for source in mine)
    return weights


def _published_source(section: SourceSection, names: dict[str, int]) -> Source:
    split = find_split(section.data)
    pictures = split.read(section.root)
    mine = [names.setdefault(name, len(names)) for name in split.classes]
    table = np.full(_NUM_LABELS, _NO_MEANING)
    table[: len(mine)] = mine
    table[split.ignore_label] = UNKNOWN
    return Source(pictures=pictures, annotated=tuple(mine), table=table)


def _folder_sources(section: SourceSection, index: int, names: dict[str, int]) -> list[Source]:
    dataset = FolderDataset.read(section.root)
    if section.only and section.only not in _shown_sources(dataset):
        raise ConfigError(
            f"pictures.sources.{index}.only is {section.only!r}: choose from "
            f"{', '.join(_shown_sources(dataset))}"
        )
    wanted = [section.only] if section.only else _shown_sources(dataset)
    return [_folder_source(dataset, name, names) for name in wanted]


def _shown_sources(dataset: FolderDataset) -> list[str]:
    """The sources that have pictures."""
    shown = {item.source for item in dataset}
    return [name for name in dataset.sources if name in shown]


def _folder_source(dataset: FolderDataset, name: str, names: dict[str, int]) -> Source:
    labels = dataset.source(name)
    mine = {i: names.setdefault(labels.classes[i], len(names)) for i in labels.annotated}
    table = np.full(_NUM_LABELS, _NO_MEANING)
    table[: len(labels.classes)] = NONE_OF_THEM  # a class that the source does not annotate
    table[list(mine)] = list(mine.values())
    table[dataset.ignore_index] = UNKNOWN
    table[dataset.background_index] = NONE_OF_THEM
    pictures = [item for item in dataset if item.source == name]
    return Source(pictures=pictures, annotated=tuple(mine.values()), table=table)
