"""Whether a data set on disk can be used: counts, pairs, sizes, label values, checksum.

A published one is checked against what was published; of any other folder it is told how it is
read, what its label maps show, and what makes one doubt them.

Sizes: H x W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Integer

from escnet.data.doubts import doubts_of_source
from escnet.data.folder import FolderDataset
from escnet.data.image import image_size_hw
from escnet.data.label_map import check_same_size
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.layout import (
    Layout,
    Split,
    label_files,
    listed_names,
    picture_files,
)
from escnet.data.picture_file import PictureFile
from escnet.errors import DatasetError, EscnetError, ImageError
from escnet.files import display_path

if TYPE_CHECKING:
    import hashlib


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was found.

    Attributes:
        name: The data set.
        pictures: Its folder of pictures, below the root.
        labels: Its folder of label maps, below the root.
        num_pictures: Pictures in the folder, of the split if it has a list.
        num_labels: Label maps likewise.
        num_pairs: Pictures that have a label map.
        expected: The published numbers of pairs.
        problems: One line each, in the order of the names.
        checksum: SHA-256 over the good pairs, the one that a result of all of them holds too; of
            equal data sets equal, however their label maps are stored.
    """

    name: str
    pictures: str
    labels: str
    num_pictures: int
    num_labels: int
    num_pairs: int
    expected: tuple[int, ...]
    problems: tuple[str, ...]
    checksum: str

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check_split(
    split: Split, root: str | Path, on_picture: Callable[[int, int], None] | None = None
) -> CheckReport:
    """Read a data set's label maps and its pictures' sizes, and tell what is wrong.

    Args:
        split: The data set.
        root: The folder above it.
        on_picture: Called with the number of finished pictures and of all.

    Raises:
        DatasetError: If the root does not hold it at all.
    """
    root = Path(root)
    layout = split.layout_in(root)
    pairs = split.read(root)
    pictures, labels = picture_files(root, layout), label_files(root, layout)
    problems = _count_problems(split, len(pairs)) + _pair_problems(
        root, layout, set(pictures), set(labels)
    )
    digest = sha256()
    for number, pair in enumerate(pairs, start=1):
        try:
            digest.update(digest_line(pair.stem, _checked(split, pair)))
        except EscnetError as error:
            problems.append(str(error))
        if on_picture is not None:
            on_picture(number, len(pairs))
    return CheckReport(
        name=split.name,
        pictures=layout.pictures,
        labels=layout.labels,
        num_pictures=len(pictures),
        num_labels=len(labels),
        num_pairs=len(pairs),
        expected=split.counts,
        problems=tuple(problems),
        checksum=digest.hexdigest(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderReport:
    """What was found in a folder that is no published data set.

    Attributes:
        name: Of the folder.
        layout: How it is read.
        num_pictures: Pictures with a label map.
        sources: For each source its classes, each with the pictures that show it and its pixels.
        problems: What keeps a picture from being used, one line each.
        doubts: What makes one doubt that the label maps mean what their owner thinks.
        checksum: SHA-256 over the good pairs of each source, the one that a result of all of them
            holds too.
    """

    name: str
    layout: str
    num_pictures: int
    sources: dict[str, list[tuple[str, int, int]]]
    problems: tuple[str, ...]
    doubts: tuple[str, ...]
    checksum: dict[str, str]

    @property
    def is_good(self) -> bool:
        """Whether every picture can be used."""
        return not self.problems


def check_folder(
    dataset: FolderDataset, on_picture: Callable[[int, int], None] | None = None
) -> FolderReport:
    """Read a folder's label maps and its pictures' sizes, and tell what was found.

    Args:
        dataset: The folder.
        on_picture: Called with the number of finished pictures and of all.
    """
    sources = [name for name in dataset.sources if any(i.source == name for i in dataset)]
    doubts = {name: doubts_of_source(dataset, name) for name in sources}
    digests = {name: sha256() for name in sources}
    problems = []
    for number, item in enumerate(dataset, start=1):
        try:
            labels = item.read_truth()
            check_same_size(item.truth_name, labels.shape, image_size_hw(item.image_path))
            _refuse_no_class(dataset, item, labels)
            dataset.refuse_undeclared(item, labels)
            counted = np.where(labels == dataset.background_index, dataset.ignore_index, labels)
            checksum = pair_checksum(item.image_path, counted)
            digests[item.source].update(digest_line(item.stem, checksum))
            doubts[item.source].look_at(item, labels)
        except EscnetError as error:
            problems.append(str(error))
        if on_picture is not None:
            on_picture(number, len(dataset))
    several = len(sources) > 1
    return FolderReport(
        name=dataset.root.resolve().name,
        layout=dataset.layout,
        num_pictures=len(dataset),
        sources={name: doubts[name].counts for name in sources},
        problems=tuple(problems),
        doubts=tuple(
            f"{name}: {line}" if several else line
            for name in sources
            for line in doubts[name].lines()
        ),
        checksum={name: digests[name].hexdigest() for name in sources},
    )


def _refuse_no_class(
    dataset: FolderDataset, item: LabelledPicture, labels: Integer[np.ndarray, "H W"]
) -> None:
    last = len(dataset.source(item.source).classes) - 1
    special = (dataset.ignore_index, dataset.background_index)
    outside = labels[(labels > last) & ~np.isin(labels, special)]
    if outside.size:
        raise DatasetError(
            f"{item.truth_name} holds label {outside[0]}, but there are classes 0..{last}: "
            f"correct it, or say what {outside[0]} is with --ignore or --id-map"
        )


def _count_problems(split: Split, num_pairs: int) -> list[str]:
    if num_pairs in split.counts:
        return []
    published = " or ".join(str(count) for count in split.counts)
    return [f"{num_pairs} pictures with label maps, but {published} are published"]


def _pair_problems(root: Path, layout: Layout, pictures: set[str], labels: set[str]) -> list[str]:
    names = listed_names(root, layout)
    problems = [f"label map {stem} has no picture" for stem in sorted(labels - pictures)]
    if names is not None:
        nothing = sorted(set(names) - labels)
        problems += [f"{stem} is in {layout.names_file}, but has no label map" for stem in nothing]
    elif not layout.pictures.endswith("JPEGImages"):  # which holds other splits' pictures too
        problems += [f"picture {stem} has no label map" for stem in sorted(pictures - labels)]
    return problems


def _checked(split: Split, pair: LabelledPicture) -> str:
    labels = pair.read_truth()
    outside = labels[(labels >= len(split.classes)) & (labels != split.ignore_label)]
    if outside.size:
        raise DatasetError(
            f"{pair.truth_name} holds label {outside[0]}, but {split.name} "
            f"has classes 0..{len(split.classes) - 1} and ignores {split.ignore_label}: make it "
            f"again with `escnet data prepare {split.name}`"
        )
    check_same_size(pair.truth_name, labels.shape, image_size_hw(pair.image_path))
    return pair_checksum(pair.image_path, labels)


def digest_line(stem: str, checksum: str) -> bytes:
    """What a checksum over several pictures takes in of each.

    Args:
        stem: The picture's name, which need not be UTF-8 on disk.
        checksum: Of the pair.
    """
    return f"{stem} {checksum}\n".encode("utf-8", "surrogateescape")


def pair_checksum(picture: Path | PictureFile, labels: Integer[np.ndarray, "H W"]) -> str:
    """SHA-256 of a picture's file and its class indices, however these are encoded on disk.

    Args:
        picture: The file; one that is open is not read again.
        labels: The class indices.

    Raises:
        ImageError: If the picture's file cannot be read.
    """
    digest = picture.digest() if isinstance(picture, PictureFile) else _file_digest(picture)
    digest.update(repr(labels.shape).encode())
    digest.update(labels.astype("<i4").tobytes())
    return digest.hexdigest()


def _file_digest(path: Path) -> "hashlib._Hash":
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise ImageError(
            f"picture {display_path(path)} cannot be read ({error.strerror}): check it"
        ) from None
