"""Training examples: which picture, which class names, and what its pixels say of them.

Sizes: n class names of a step, h x w pixels of the label map.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from escnet.data.folder import FolderDataset, FolderItem
from escnet.data.label_map import read_label_map
from escnet.errors import ConfigError, DatasetError
from escnet.training.loss import NONE_OF_THEM, UNKNOWN

_NUM_LABELS = 256  # of an 8-bit label map


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture with the class names of this step.

    Attributes:
        item: The picture.
        is_mirrored: Whether it is seen in the mirror.
        names: Indices into the dataset's class names.
        target: For each pixel the position in `names`, or a value of `escnet.training.loss`.
    """

    item: FolderItem
    is_mirrored: bool
    names: Int[np.ndarray, " n"]
    target: Int[Tensor, "h w"]


def shared_classes(dataset: FolderDataset) -> tuple[str, ...]:
    """The one list of class names that all sources of a dataset for training share.

    Raises:
        DatasetError: If a source has a list of its own, or the label maps are not of 8 bits.
    """
    classes = dataset.source(dataset.sources[0]).classes
    if any(dataset.source(name).classes != classes for name in dataset.sources):
        raise DatasetError(
            f"{dataset.root} has a list of class names for each source, but training needs one "
            "for all: write classes.json with 'classes' and 'sources'"
        )
    if (largest := max(dataset.ignore_index, dataset.background_index)) >= _NUM_LABELS:
        raise DatasetError(
            f"{dataset.root} uses label {largest}, but training reads label maps of 8 bits: "
            f"choose ignore and background indices below {_NUM_LABELS}"
        )
    return classes


class ExampleSource:
    """Draws examples from a folder whose sources annotate different names.

    Args:
        dataset: The pictures.
        side: Height and width of the label maps, to which the pictures' own are shrunk.
        source_weights: How often each source is drawn, relative to its number of pictures.
        withheld: Class names whose pixels give no loss and that are never negatives.

    Raises:
        ConfigError: If a source or a withheld name is not in the dataset, or no picture is ever
            drawn.
        DatasetError: If the sources do not share their class names.
    """

    def __init__(
        self,
        dataset: FolderDataset,
        *,
        side: int,
        source_weights: dict[str, float],
        withheld: tuple[str, ...] = (),
    ) -> None:
        if unknown := sorted(set(source_weights) - set(dataset.sources)):
            raise ConfigError(
                f"data.source_weights: no source {unknown[0]!r}: choose from "
                f"{', '.join(dataset.sources)}"
            )
        self.items = list(dataset)
        self.classes = shared_classes(dataset)
        if missing := sorted(set(withheld) - set(self.classes)):
            raise ConfigError(f"data.withheld: no class name {missing[0]!r} in {dataset.root}")
        self._withheld = np.array([self.classes.index(name) for name in withheld], int)
        self._annotated = {
            name: np.setdiff1d(dataset.source(name).annotated, self._withheld)
            for name in dataset.sources
        }
        self._dataset = dataset
        weight = np.array([source_weights.get(item.source, 1.0) for item in self.items])
        if not weight.any():
            raise ConfigError("data.source_weights are all 0: give one source a positive weight")
        self._probability = weight / weight.sum()
        self._labels = np.stack([_shrunk(item, side) for item in self.items])

    def draw(self, random: np.random.Generator, most_names: int | None) -> Example:
        """A random picture, mirrored every other time.

        Args:
            random: Where the chance comes from.
            most_names: The names it shows and random others of its source, this many in all;
                None for all that its source annotates.
        """
        row = int(random.choice(len(self.items), p=self._probability))
        item = self.items[row]
        labels = self._labels[row].astype(np.int64)
        annotated = self._annotated[item.source]
        names = annotated
        if most_names is not None and most_names < len(annotated):
            shown = np.intersect1d(np.unique(labels), annotated)
            if len(shown) > most_names:
                shown = random.choice(shown, most_names, replace=False)
            others = np.setdiff1d(annotated, shown)
            more = random.choice(others, min(len(others), most_names - len(shown)), replace=False)
            names = np.concatenate([shown, more])
        is_mirrored = bool(random.integers(2))
        target = self._lookup(names)[labels]
        if is_mirrored:
            target = target[:, ::-1]
        return Example(
            item=item,
            is_mirrored=is_mirrored,
            names=names,
            target=torch.from_numpy(target.copy()),
        )

    def _lookup(self, names: Int[np.ndarray, " n"]) -> Int[np.ndarray, " 256"]:
        """From a label of the file to a target of the step."""
        table = np.full(_NUM_LABELS, NONE_OF_THEM, np.int64)
        table[self._dataset.ignore_index] = UNKNOWN
        table[self._withheld] = UNKNOWN
        table[names] = np.arange(len(names))
        return table


def _shrunk(item: FolderItem, side: int) -> UInt8[np.ndarray, "h w"]:
    label_map = read_label_map(item.mask_path)
    if label_map.dtype != np.uint8:
        raise DatasetError(
            f"label map {item.mask_path} has 16 bits, but training reads 8: save it with 8"
        )
    small = Image.fromarray(label_map).resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(small)
