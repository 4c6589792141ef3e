"""A random part of a picture and of its label map, as the built-in model's training shows it.

The built-in model squeezes the whole picture into a square. Its training shows the whole picture as
often as the recipe says, and else a part of it, so that the same things come in many sizes.

Sizes: H x W pixels of the file, s the side of the square, c that of the label map.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt8
from PIL import Image
from torch import Tensor

from escnet.training.augmentation import recoloured
from escnet.training.config import ViewsSection
from escnet.training.data_config import AugmentationSection

Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels of the file


class View(NamedTuple):
    """What is seen of a picture.

    Attributes:
        image: In [0, 1].
        labels: As in the label map.
    """

    image: Float[Tensor, "3 s s"]
    labels: Int[np.ndarray, "c c"]


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
    if random.integers(2):
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 255
    return View(image, labels.copy())


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
