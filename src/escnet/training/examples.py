"""Training examples: which picture, which class names, and what its pixels say of them.

Sizes: n class names of a step, h x w places of the target, H x W pixels of a file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt8
from PIL import Image
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.label_map import check_same_size
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError, DatasetError, EscnetError
from escnet.training.broken_files import BrokenFiles, first_sound
from escnet.training.config import ViewsSection
from escnet.training.loss import NONE_OF_THEM, UNKNOWN
from escnet.training.random_view import Part, random_view

_NUM_LABELS = 256  # of an 8-bit label map


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture with the class names of this step.

    Attributes:
        item: The picture.
        part: What is seen of it.
        names: Indices into the dataset's class names.
        target: For each pixel the position in `names`, or a value of `escnet.training.loss`.
        image: The same as pixels, in [0, 1]; None where it is the whole picture, of which there are
            feature maps.
    """

    item: LabelledPicture
    part: Part
    names: Int[np.ndarray, " n"]
    target: Int[Tensor, "h w"]
    image: Float[Tensor, "3 s s"] | None = None

    def of_names(self, rows: Int[np.ndarray, " m"]) -> "Example":
        """The same with some of its names alone; pixels of the others are none of them.

        Args:
            rows: Positions in `names`.
        """
        target = target_of_names(self.target, rows, len(self.names))
        return replace(self, names=self.names[rows], target=target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """How pictures are seen by nets that run in every step.

    Attributes:
        settings: What is shown of a picture.
        side: Of the square that the nets see.
    """

    settings: ViewsSection
    side: int


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


def check_sources(setting: str, names: Iterable[str], dataset: FolderDataset) -> None:
    """Refuse names of sources that a dataset has not.

    Args:
        setting: Where the recipe has them.
        names: Of sources.
        dataset: The pictures.

    Raises:
        ConfigError: If one is not there.
    """
    if unknown := sorted(set(names) - set(dataset.sources)):
        raise ConfigError(
            f"{setting}: no source {unknown[0]!r}: choose from {', '.join(dataset.sources)}"
        )


class ExampleSource:
    """Draws examples from a folder whose sources annotate different names.

    Args:
        dataset: The pictures.
        side: Height and width of the label maps, to which the pictures' own are shrunk.
        source_weights: How often each source is drawn, relative to its number of pictures.
        withheld: Class names whose pixels give no loss and that are never negatives.
        rarity: How much more often pictures with rare names are drawn.
        views: What is seen of a picture; None for the whole.
        broken: Pictures that are known to be broken, as places of source 0, and takes note of more.

    Raises:
        ConfigError: If a source or a withheld name is not in the dataset, or no picture is ever
            drawn.
        DatasetError: If the sources do not share their class names, or more than one picture in a
            hundred is broken.
    """

    def __init__(
        self,
        dataset: FolderDataset,
        *,
        side: int,
        source_weights: dict[str, float],
        withheld: tuple[str, ...] = (),
        rarity: float = 0.0,
        views: Views | None = None,
        broken: BrokenFiles | None = None,
    ) -> None:
        check_sources("data.source_weights", source_weights, dataset)
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
        self._side = side
        self._views = views
        self._broken = BrokenFiles(len(self.items)) if broken is None else broken
        self._left_out: dict[int, str] = {}  # rows, with what is wrong
        self._labels = np.stack([self._small_labels(row) for row in range(len(self.items))])
        weight = np.array([source_weights.get(item.source, 1.0) for item in self.items])
        if not weight.any():
            raise ConfigError("data.source_weights are all 0: give one source a positive weight")
        if rarity:
            weight = weight * self._rareness(rarity)
        self._probability = weight / weight.sum()

    def draw(
        self, random: np.random.Generator, most_names: int | None, source: str | None = None
    ) -> Example:
        """A random picture, mirrored every other time; another one where it is broken.

        Args:
            random: Where the chance comes from.
            most_names: The names it shows and random others of its source, this many in all;
                None for all that its source annotates.
            source: Of which the picture is; None for any. It must be one that is drawn from.

        Raises:
            DatasetError: If more than one picture in a hundred is broken, or many in a row.
        """
        example = self._sound(random, self._probability_of(source))
        if most_names is None or most_names >= len(example.names):
            return example
        return some_names_of(example, most_names, random)

    def num_pictures(self) -> Int[np.ndarray, " N"]:
        """Of how many of the pictures that are drawn each of the N class names has pixels."""
        count = np.zeros(len(self.classes), np.int64)
        for item, labels, probability in zip(
            self.items, self._labels, self._probability, strict=True
        ):
            if probability > 0:
                count[np.intersect1d(labels, self._annotated[item.source])] += 1
        return count

    def _probability_of(self, source: str | None) -> Float[np.ndarray, " P"]:
        """How probably each picture is drawn."""
        if source is None:
            return self._probability
        value = self._probability * [item.source == source for item in self.items]
        return value / value.sum()

    def _sound(self, random: np.random.Generator, probability: Float[np.ndarray, " P"]) -> Example:
        """The first of the pictures drawn that can be read, with all its names."""
        rows = (int(random.choice(len(self.items), p=probability)) for _ in count())
        place, example, broken = first_sound(
            ((0, row), partial(self._seen, row, random)) for row in rows
        )
        self._broken.count(place, broken)
        return example

    def _small_labels(self, row: int) -> UInt8[np.ndarray, "h w"]:
        """A picture's label map, shrunk; a broken picture is noted, and its map says nothing."""
        place, reason = (0, row), self._broken.reason_of((0, row))
        if reason is None:
            try:
                labels = _shrunk(self.items[row], self._side)
            except EscnetError as error:
                reason = str(error)
            else:
                self._broken.count(place, {})
                return labels
        self._broken.count(place, {place: reason})
        self._left_out[row] = reason
        return np.full((self._side, self._side), self._dataset.ignore_index, np.uint8)

    def _seen(self, row: int, random: np.random.Generator) -> Example:
        """A picture with all names that its source annotates."""
        if row in self._left_out:
            raise DatasetError(self._left_out[row])
        item = self.items[row]
        names = self._annotated[item.source]
        image = None
        if self._views is None:
            labels = self._labels[row].astype(np.int64)
            part = Part(is_mirrored=bool(random.integers(2)))
            if part.is_mirrored:
                labels = labels[:, ::-1]
        else:
            image, labels, part = random_view(
                *_pair_of(item),
                self._views.settings,
                random,
                image_side=self._views.side,
                label_side=self._side,
            )
        return Example(
            item=item,
            part=part,
            names=names,
            target=torch.from_numpy(self._lookup(names)[labels].copy()),
            image=image,
        )

    def _rareness(self, rarity: float) -> Float[np.ndarray, " P"]:
        """Of each picture, with a mean of 1 within each source."""
        shown = [
            np.intersect1d(np.unique(labels), self._annotated[item.source])
            for item, labels in zip(self.items, self._labels, strict=True)
        ]
        value = np.zeros(len(self.items))
        for source in self._dataset.sources:
            rows = [row for row, item in enumerate(self.items) if item.source == source]
            if rows:
                value[rows] = _rareness_of([shown[row] for row in rows], rarity)
        return value

    def _lookup(self, names: Int[np.ndarray, " n"]) -> Int[np.ndarray, " 256"]:
        """From a label of the file to a target of the step."""
        table = np.full(_NUM_LABELS, NONE_OF_THEM, np.int64)
        table[self._dataset.ignore_index] = UNKNOWN
        table[self._withheld] = UNKNOWN
        table[names] = np.arange(len(names))
        return table


def shown_in(target: Int[Tensor, "h w"]) -> Int[np.ndarray, " _"]:
    """Positions of the names that a target shows, in order.

    Args:
        target: For each pixel the position of its name, or a value of `escnet.training.loss`.
    """
    shown = target.unique().numpy()
    return shown[shown >= 0]


def target_of_names(
    target: Int[Tensor, "h w"], rows: Int[np.ndarray, " m"], num_names: int
) -> Int[Tensor, "h w"]:
    """A target for some of the names alone; pixels of the others are none of them.

    Args:
        target: For each pixel the position of its name, or a value of `escnet.training.loss`.
        rows: Positions of the names that are kept.
        num_names: n.
    """
    table = torch.full((num_names,), NONE_OF_THEM)
    table[rows] = torch.arange(len(rows))
    return torch.where(target >= 0, table[target.clamp(min=0)], target)


def some_names_of(example: Example, most_names: int, random: np.random.Generator) -> Example:
    """An example with the names that it shows, and others beside them.

    Args:
        example: With all its names.
        most_names: How many in all; some of those shown if it shows more.
        random: Chooses.
    """
    shown = shown_in(example.target)
    if len(shown) > most_names:
        shown = random.choice(shown, most_names, replace=False)
    others = np.setdiff1d(np.arange(len(example.names)), shown)
    num_others = min(len(others), most_names - len(shown))
    return example.of_names(
        np.concatenate([shown, random.choice(others, num_others, replace=False)])
    )


def _rareness_of(shown: Sequence[Int[np.ndarray, " _"]], rarity: float) -> Float[np.ndarray, " P"]:
    """How often each picture of a source is drawn: the rarer its names, the more often."""
    count = np.bincount(np.concatenate([*shown, [0]]).astype(np.int64), minlength=_NUM_LABELS)
    worth = count.clip(min=1).astype(float) ** -rarity
    value = np.array([worth[names].sum() if len(names) else worth.min() for names in shown])
    return value / value.mean()


def _pair_of(
    item: LabelledPicture,
) -> tuple[UInt8[np.ndarray, "H W 3"], Integer[np.ndarray, "H W"]]:
    """A picture and its label map.

    Raises:
        DatasetError: If they differ in size, beside what reading them raises.
    """
    pixels, label_map = read_image(item.image_path), item.read_truth()
    check_same_size(item.truth_shown, label_map.shape, pixels.shape[:2])
    return pixels, label_map


def _shrunk(item: LabelledPicture, side: int) -> UInt8[np.ndarray, "h w"]:
    label_map = item.read_truth()
    if label_map.dtype != np.uint8:
        raise DatasetError(f"{item.truth_shown} has 16 bits, but training reads 8: save it with 8")
    small = Image.fromarray(label_map).resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(small)
