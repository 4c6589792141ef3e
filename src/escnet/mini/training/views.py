"""A random part of a picture and of its label map, as the built-in model's training shows it.

The built-in model squeezes the whole picture into a square. Its training shows the whole picture as
often as the recipe says, and else a part of it, so that the same things come in many sizes.

Sizes: H x W pixels of the file, s the side of the square, c that of the label map, C channels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from PIL import Image
from torch import Tensor

from escnet.mini.training.features import FeatureStore
from escnet.mini.training.recipe import ViewsSection
from escnet.training.augmentation import recoloured
from escnet.training.sources import Source

Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels of the file


class Part(NamedTuple):
    """A part of a picture, in shares of its width and height.

    Attributes:
        left: Where it begins.
        upper: Likewise.
        right: Where it ends.
        lower: Likewise.
        is_mirrored: Whether it is seen in the mirror.
    """

    left: float = 0.0
    upper: float = 0.0
    right: float = 1.0
    lower: float = 1.0
    is_mirrored: bool = False

    def of(self, maps: Float[Tensor, "C h w"], side: int) -> Float[Tensor, "C side side"]:
        """What is seen of maps of the whole picture, between whose places it is interpolated.

        Args:
            maps: On any grid.
            side: Of the square grid that they are wanted on.
        """
        step = (torch.arange(side, device=maps.device) + 0.5) / side
        x = (self.left + step * (self.right - self.left)) * 2 - 1
        y = (self.upper + step * (self.lower - self.upper)) * 2 - 1
        if self.is_mirrored:
            x = x.flip(0)
        place = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
        return F.grid_sample(
            maps[None], place[None].to(maps), padding_mode="border", align_corners=False
        )[0]


class PartView(NamedTuple):
    """What is seen of a picture.

    Attributes:
        image: Its pixels, in [0, 1], as a batch of one; None where feature maps stand for them.
        target: For each place an index into the vocabulary, or a value of `targets.py`.
        part: The part of the picture that is seen.
    """

    image: Float[Tensor, "1 3 s s"] | None
    target: Int[Tensor, "c c"]
    part: Part


@dataclass(frozen=True, slots=True)
class ReadPart:
    """Reads a random part, mirrored every other time, its colours changed now and then.

    Attributes:
        settings: What may happen.
        image_side: s.
        label_side: c.
    """

    settings: ViewsSection
    image_side: int
    label_side: int

    def __call__(self, source: Source, row: int, random: np.random.Generator) -> PartView:
        """The part, and what its pixels say.

        Raises:
            DatasetError: If the label map is broken.
            ImageError: If the picture is.
        """
        picture, labels = source.read(row)
        box = random_box(labels.shape, self.settings, random)
        size = (self.image_side, self.image_side)
        pixels = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, box=box))
        target = labels_in(labels, box, self.label_side)
        pixels = recoloured(pixels, self.settings, random)
        is_mirrored = bool(random.integers(2))
        if is_mirrored:
            pixels, target = pixels[:, ::-1], target[:, ::-1]
        image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 255
        height, width = labels.shape
        left, upper, right, lower = box
        part = Part(left / width, upper / height, right / width, lower / height, is_mirrored)
        return PartView(image[None], torch.from_numpy(target.copy()), part)


@dataclass(frozen=True, slots=True)
class ReadWhole:
    """Reads the label map of a whole picture, mirrored every other time.

    Its feature maps are read where they are used: they would fill the memory that processes share.

    Attributes:
        store: The feature maps.
        label_side: c.
    """

    store: FeatureStore
    label_side: int

    def __call__(self, source: Source, row: int, random: np.random.Generator) -> PartView:
        """The whole picture without its pixels, and what they say.

        Raises:
            DatasetError: If the label map is broken.
            ImageError: If the picture is.
        """
        self.store.refuse_broken(source.pictures[row].image_path)
        labels = source.read_labels(row)
        is_mirrored = bool(random.integers(2))
        target = labels_in(labels, whole_box(labels.shape), self.label_side)
        if is_mirrored:
            target = target[:, ::-1]
        return PartView(None, torch.from_numpy(target.copy()), Part(is_mirrored=is_mirrored))


def whole_box(size_hw: tuple[int, ...]) -> Box:
    """All of a picture."""
    return (0.0, 0.0, float(size_hw[1]), float(size_hw[0]))


def random_box(
    size_hw: tuple[int, ...], settings: ViewsSection, random: np.random.Generator
) -> Box:
    """The part that is seen: the whole picture, or one of a random size, shape and place."""
    height, width = size_hw
    if random.random() < settings.whole:
        return whole_box(size_hw)
    side = float(np.sqrt(random.uniform(settings.least_area, 1.0)))
    stretch = float(np.exp(random.uniform(-1, 1) * np.log(settings.stretch)))
    part_w, part_h = width * min(1.0, side * stretch), height * min(1.0, side / stretch)
    left, upper = random.uniform(0, width - part_w), random.uniform(0, height - part_h)
    return (left, upper, min(left + part_w, width), min(upper + part_h, height))


def labels_in(label_map: Integer[np.ndarray, "H W"], box: Box, side: int) -> Int[np.ndarray, "c c"]:
    """The labels at the centres of a grid over a part of a label map."""
    left, upper, right, lower = box
    place = (np.arange(side) + 0.5) / side
    rows = (upper + place * (lower - upper)).astype(np.int64).clip(0, label_map.shape[0] - 1)
    columns = (left + place * (right - left)).astype(np.int64).clip(0, label_map.shape[1] - 1)
    return label_map[np.ix_(rows, columns)].astype(np.int64)
