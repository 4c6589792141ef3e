"""A random part of a picture and of its label map, as the built-in model's training shows it.

The built-in model squeezes the whole picture into a square. Its training shows the whole picture as
often as the recipe says, and else a part of it, so that the same things come in many sizes.

Sizes: H x W pixels of the file, s the side of the square, c that of the label map, C channels.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer, UInt8
from PIL import Image
from torch import Tensor

from escnet.training.augmentation import recoloured
from escnet.training.config import ViewsSection
from escnet.training.data_config import AugmentationSection

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


class View(NamedTuple):
    """What is seen of a picture.

    Attributes:
        image: In [0, 1].
        labels: As in the label map.
        part: The part of the picture that is seen.
    """

    image: Float[Tensor, "3 s s"]
    labels: Int[np.ndarray, "c c"]
    part: Part


def random_view(
    picture: UInt8[np.ndarray, "H W 3"],
    label_map: Integer[np.ndarray, "H W"],
    settings: ViewsSection,
    random: np.random.Generator,
    *,
    image_side: int,
    label_side: int,
) -> View:
    """A random view, mirrored every other time, its colours changed now and then.

    Args:
        picture: As read.
        label_map: Of the same size.
        settings: What may happen.
        random: Decides what does happen.
        image_side: s.
        label_side: c.
    """
    box = random_box(label_map.shape, settings, random)
    size = (image_side, image_side)
    pixels = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, box=box))
    labels = labels_in(label_map, box, label_side)
    pixels = recoloured(pixels, AugmentationSection(colour=settings.colour, hue=18), random)
    is_mirrored = bool(random.integers(2))
    if is_mirrored:
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 255
    height, width = label_map.shape
    left, upper, right, lower = box
    part = Part(left / width, upper / height, right / width, lower / height, is_mirrored)
    return View(image, labels.copy(), part)


def random_box(
    size_hw: tuple[int, ...], settings: ViewsSection, random: np.random.Generator
) -> Box:
    """The part that is seen: the whole picture, or one of a random size, shape and place."""
    height, width = size_hw
    if random.random() < settings.whole:
        return (0.0, 0.0, float(width), float(height))
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
