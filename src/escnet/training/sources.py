"""Sources of labelled pictures, brought to one vocabulary.

Sizes: H x W pixels of a picture, N names of the vocabulary.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Int, UInt8

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.label_map import check_same_size
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.splits import find_split
from escnet.errors import ConfigError, DatasetError, EscnetError
from escnet.training.pictures_recipe import SourceSection
from escnet.training.sampler import LEAST_SHARE
from escnet.training.targets import NONE_OF_THEM, UNKNOWN

FOLDER = "folder"  # what `SourceSection.data` calls the project's own format

_NO_MEANING = -3  # a label that the source's description lacks
_NUM_LABELS = 65_536


@dataclass(frozen=True, kw_only=True)
class Source:
    """Labelled pictures of one kind.

    Attributes:
        name: Of the source within its data set.
        section: Which section of the recipe named it.
        pictures: None of them opened yet.
        annotated: Indices into the vocabulary of the names that it annotates.
        table: For each label of its maps an index into the vocabulary, NONE_OF_THEM, or UNKNOWN.
        is_complete: Whether a picture without pixels of a name that it annotates does not show it.
    """

    name: str
    section: int
    pictures: Sequence[LabelledPicture]
    annotated: tuple[int, ...]
    table: Int[np.ndarray, " 65536"]
    is_complete: bool = True

    def read(self, row: int) -> tuple[UInt8[np.ndarray, "H W 3"], Int[np.ndarray, "H W"]]:
        """A picture and its labels, as indices into the vocabulary, NONE_OF_THEM, or UNKNOWN.

        Raises:
            ImageError: If the picture cannot be read.
            DatasetError: If the label map cannot, is of another size, or holds unknown labels.
        """
        picture, labels = read_image(self.pictures[row].image_path), self.read_labels(row)
        check_same_size(self.pictures[row].truth_name, labels.shape, picture.shape[:2])
        return picture, labels

    def read_labels(self, row: int) -> Int[np.ndarray, "H W"]:
        """The labels of a picture alone.

        Raises:
            DatasetError: If they cannot be read, or are unknown.
        """
        raw = self.pictures[row].read_truth()
        labels = self.table[raw]
        if (labels == _NO_MEANING).any():
            raise DatasetError(
                f"{self.pictures[row].truth_name} holds label "
                f"{raw[labels == _NO_MEANING][0]}, which means nothing there: correct it"
            )
        return labels

    @cached_property
    def presence(self) -> Bool[np.ndarray, "P N"]:
        """Which of the names that it annotates each picture has pixels of; a broken one has none.

        Every label map is read for it, once.
        """
        shown = np.zeros((len(self.pictures), int(self.table.max()) + 1), bool)
        for row in range(len(self.pictures)):
            try:
                labels = np.unique(self.read_labels(row))
            except EscnetError:  # said where the picture is drawn
                continue
            shown[row, labels[labels >= 0]] = True
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All sources of a run, and the one vocabulary that their labels are indices of.

    Attributes:
        sources: In the recipe's order.
        names: The vocabulary.
        folders: Those that are no published data sets.
    """

    sources: tuple[Source, ...]
    names: tuple[str, ...]
    folders: tuple[FolderDataset, ...] = ()

    @property
    def num_pictures(self) -> int:
        """Of all sources."""
        return sum(len(source.pictures) for source in self.sources)

    def without(self, withheld: Collection[str]) -> "Sources":
        """The same pictures with some names unknown: no source annotates them.

        Raises:
            ConfigError: If one of them is no name of the vocabulary.
        """
        if missing := sorted(set(withheld) - set(self.names)):
            raise ConfigError(f"data.withheld: no class name {missing[0]!r} in the data")
        rows = [self.names.index(name) for name in withheld]
        return replace(
            self,
            sources=tuple(
                replace(
                    source,
                    annotated=tuple(one for one in source.annotated if one not in rows),
                    table=np.where(np.isin(source.table, rows), UNKNOWN, source.table),
                )
                for source in self.sources
            ),
        )

    def incomplete(self, sources: Collection[str]) -> "Sources":
        """The same pictures, where some sources do not label all that they have names for.

        What is of none of their names in the label maps is unknown then.

        Raises:
            ConfigError: If there is no such source.
        """
        _check_known("data.incomplete", sources, {source.name for source in self.sources})
        return replace(
            self,
            sources=tuple(
                replace(
                    source,
                    table=np.where(source.table == NONE_OF_THEM, UNKNOWN, source.table),
                    is_complete=False,
                )
                if source.name in sources
                else source
                for source in self.sources
            ),
        )

    def identity(self) -> dict[str, object]:
        """What must be equal for a run to go on: pictures, names, and what is annotated."""
        digest = sha256()
        for source in self.sources:
            for picture in source.pictures:
                digest.update(f"{picture.image_path.name}\n".encode())
        return {
            "pictures": digest.hexdigest(),
            "class names": list(self.names),
            "annotated": [list(source.annotated) for source in self.sources],
            "complete": [source.is_complete for source in self.sources],
        }


def read_sources(sections: Sequence[SourceSection], left_out: Collection[str] = ()) -> Sources:
    """The sources of a recipe; the same name in two of them is one name.

    Args:
        sections: Of the recipe.
        left_out: Sources of folders that are not read, nor the names that they alone have.

    Raises:
        ConfigError: If a section asks for something that its data do not have.
        DatasetError: If the data are not there.
    """
    names: dict[str, int] = {}
    sources: list[Source] = []
    folders: list[FolderDataset] = []
    for index, section in enumerate(sections):
        if section.data == FOLDER:
            folders.append(FolderDataset.read(section.root, section.options()))
            sources.extend(_folder_sources(folders[-1], section, index, names, left_out))
        else:
            _refuse_folder_settings(section, index)
            sources.append(_published_source(section, index, names))
    known = {item.source for folder in folders for item in folder}
    _check_known("data.left_out", left_out, known)
    if left_out and not sources:
        raise ConfigError("data.left_out names all sources: keep one")
    return Sources(sources=tuple(sources), names=tuple(names), folders=tuple(folders))


def _check_known(setting: str, names: Collection[str], known: Collection[str]) -> None:
    if unknown := sorted(set(names) - set(known)):
        choice = ", ".join(sorted(known))
        raise ConfigError(f"{setting}: no source {unknown[0]!r}: choose from {choice}")


def _refuse_folder_settings(section: SourceSection, index: int) -> None:
    settings = {"only": section.only, **section.reading()}
    if given := [name for name, value in settings.items() if value not in (None, "", ())]:
        raise ConfigError(
            f"pictures.sources.{index}.{given[0]} is {settings[given[0]]!r}, but {section.data} "
            "has a layout and label values of its own, and no parts: leave it out"
        )


def source_weights(sections: Sequence[SourceSection], sources: Sources) -> list[float]:
    """Each source's share; a folder's is divided among its sources by their pictures.

    Raises:
        ConfigError: If a section's share is next to nothing.
    """
    whole = sum(section.weight for section in sections)
    weights: list[float] = []
    for index, section in enumerate(sections):
        if section.weight < LEAST_SHARE * whole:
            raise ConfigError(
                f"pictures.sources.{index}.weight is {section.weight}, less than one picture in "
                f"{round(1 / LEAST_SHARE)}: raise it, or leave the source out"
            )
        sizes = [len(one.pictures) for one in sources.sources if one.section == index]
        weights.extend(section.weight * size / sum(sizes) for size in sizes)
    return weights


def _published_source(section: SourceSection, index: int, names: dict[str, int]) -> Source:
    split = find_split(section.data)
    pictures = split.read(section.root)
    mine = [names.setdefault(name, len(names)) for name in split.classes]
    table = np.full(_NUM_LABELS, _NO_MEANING)
    table[: len(mine)] = mine
    table[split.ignore_label] = UNKNOWN
    return Source(
        name=split.name, section=index, pictures=pictures, annotated=tuple(mine), table=table
    )


def _folder_sources(
    dataset: FolderDataset,
    section: SourceSection,
    index: int,
    names: dict[str, int],
    left_out: Collection[str],
) -> list[Source]:
    present = {item.source for item in dataset}
    known = [name for name in dataset.sources if name in present]
    if section.only and section.only not in known:
        raise ConfigError(
            f"pictures.sources.{index}.only is {section.only!r}: choose from {', '.join(known)}"
        )
    wanted = [section.only] if section.only else [one for one in known if one not in left_out]
    return [_folder_source(dataset, name, index, names) for name in wanted]


def _folder_source(dataset: FolderDataset, name: str, index: int, names: dict[str, int]) -> Source:
    labels = dataset.source(name)
    mine = {i: names.setdefault(labels.classes[i], len(names)) for i in labels.annotated}
    table = np.full(_NUM_LABELS, _NO_MEANING)
    table[: len(labels.classes)] = NONE_OF_THEM  # a class that the source does not annotate
    table[list(mine)] = list(mine.values())
    table[dataset.ignore_index] = UNKNOWN
    table[dataset.background_index] = NONE_OF_THEM
    pictures = [item for item in dataset if item.source == name]
    return Source(
        name=name, section=index, pictures=pictures, annotated=tuple(mine.values()), table=table
    )
