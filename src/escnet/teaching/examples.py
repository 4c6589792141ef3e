"""Pictures that show what labels mean, with masks of them.

Sizes: H x W pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from escnet.class_lists.class_list import counted, display_text
from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.label_map import check_same_size, read_label_map
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError
from escnet.files import display_path

NONE_OF_THEM, UNLABELLED = -1, -2
_MOST_VALUES = 8  # of a mask, in a message


class Example(NamedTuple):
    """A picture with masks of one name or several.

    Attributes:
        pixels: The picture.
        names: Those that its masks tell about: where they are, and where they are not.
        name_index: For each pixel the position of its name, NONE_OF_THEM or UNLABELLED.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    names: tuple[str, ...]
    name_index: Integer[np.ndarray, "H W"]

    def inside(self, name: str) -> Bool[np.ndarray, "H W"]:
        """Which pixels show a name."""
        return self.name_index == (self.names.index(name) if name in self.names else UNLABELLED - 1)

    def outside(self, name: str) -> Bool[np.ndarray, "H W"]:
        """Which pixels show something else than a name; none where the masks do not tell."""
        if name not in self.names:
            return np.zeros(self.name_index.shape, np.bool_)
        return (self.name_index != UNLABELLED) & ~self.inside(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleFile:
    """An example whose files have not been read yet.

    Attributes:
        picture: The picture.
        names: As `Example` has them.
        read: What reads both.
    """

    picture: Path
    names: tuple[str, ...]
    read: Callable[[], Example]


def examples_of_masks(
    name: str, pictures: Sequence[Path], masks: Sequence[Path], *, value: int | None = None
) -> list[ExampleFile]:
    """Pictures of one name, each with the mask of its place.

    Args:
        name: The name.
        pictures: Their files.
        masks: Files of their masks, which show the name where they are not 0.
        value: They show it where they have this value, instead.

    Raises:
        DatasetError: If there are more of the ones than of the others, or none.
    """
    if len(pictures) != len(masks) or not pictures:
        raise DatasetError(
            f"{counted(len(pictures), 'picture')} and {counted(len(masks), 'mask')} were given: "
            "give each --picture its --mask, in the same order"
        )
    return [
        ExampleFile(
            picture=picture, names=(name,), read=partial(_with_mask, name, picture, mask, value)
        )
        for picture, mask in zip(pictures, masks, strict=True)
    ]


def examples_in_folder(dataset: FolderDataset) -> Iterator[ExampleFile]:
    """The pictures of a labelled folder, with the names that their sources annotate."""
    for item in dataset:
        source = dataset.source(item.source)
        yield ExampleFile(
            picture=item.image_path,
            names=tuple(source.classes[index] for index in source.annotated),
            read=partial(_of_folder, dataset, item),
        )


def _with_mask(name: str, picture: Path, mask: Path, value: int | None) -> Example:
    pixels = read_image(picture)
    labels, shown = read_label_map(mask), f"mask {display_path(mask)}"
    check_same_size(shown, labels.shape, pixels.shape[:2])
    values = np.unique(labels)
    if value is None and (values != 0).sum() > 1:
        some = ", ".join(map(str, values[:_MOST_VALUES])) + ", ..." * (len(values) > _MOST_VALUES)
        raise DatasetError(
            f"{shown} holds the values {some}: say by --value which of them is "
            f"{display_text(name)}, or give the whole folder by --from"
        )
    is_inside = labels != 0 if value is None else labels == value
    if not is_inside.any():
        sought = "nothing but 0" if value is None else f"no pixel of the value {value}"
        raise DatasetError(
            f"{shown} holds {sought}, so it does not show {display_text(name)}: leave the picture "
            "out"
        )
    return Example(pixels, (name,), np.where(is_inside, 0, NONE_OF_THEM))


def _of_folder(dataset: FolderDataset, item: LabelledPicture) -> Example:
    pixels, truth = read_image(item.image_path), item.read_truth()
    check_same_size(item.truth_name, truth.shape, pixels.shape[:2])
    dataset.refuse_undeclared(item, truth)
    source = dataset.source(item.source)
    index = np.full(truth.shape, UNLABELLED)
    index[truth == dataset.background_index] = NONE_OF_THEM
    for position, label in enumerate(source.annotated):
        index[truth == label] = position
    return Example(pixels, tuple(source.classes[label] for label in source.annotated), index)
