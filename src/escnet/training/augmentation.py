"""A picture and its label map changed together: scaled, cut, mirrored, recoloured.

What CAT-Seg does, in its order: the shorter side is brought to a length, a random square is cut
out, its colours are changed, and every other one is mirrored. Nothing here keeps a state: the same
generator gives the same picture.

Sizes: H x W pixels of the file, s the side of the square.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Integer, UInt8
from PIL import Image

from escnet.training.pictures_recipe import AugmentationSection, ColourSection

PADDING = 128  # of pixels beyond the picture
_FULL_TURN = 256  # of Pillow's hue

Pixels = UInt8[np.ndarray, "H W 3"]


def augmented(
    picture: UInt8[np.ndarray, "H W 3"],
    label_map: Integer[np.ndarray, "H W"],
    settings: AugmentationSection,
    random: np.random.Generator,
    *,
    beyond: int,
) -> tuple[UInt8[np.ndarray, "s s 3"], Int[np.ndarray, "s s"]]:
    """A random view of a picture, and the labels of its pixels.

    Args:
        picture: As read.
        label_map: Of the same size.
        settings: What may happen.
        random: Decides what does happen.
        beyond: The label of pixels that lie outside the picture.
    """
    scaled_hw = scaled_size(picture.shape[:2], settings, random)
    top, left = (_start(length, settings.crop, random) for length in scaled_hw)
    pixels = _cut(picture, scaled_hw, (top, left), settings.crop)
    labels = _cut_labels(label_map, scaled_hw, (top, left), settings.crop)
    pixels = recoloured(pixels, settings, random)
    if random.random() < settings.flip:
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    return _padded(pixels, settings.crop, PADDING), _padded(labels, settings.crop, beyond)


def scaled_size(
    size_hw: Sequence[int], settings: AugmentationSection, random: np.random.Generator
) -> tuple[int, int]:
    """Height and width after scaling, which keeps the shape.

    Args:
        size_hw: Of the picture.
        settings: The length of the shorter side, and what the longer one may not exceed.
        random: Chooses the length, if there is a choice.
    """
    low, high = settings.short_side
    short = low if low == high else int(random.integers(low, high + 1))
    scale = min(short / min(size_hw), settings.longest_side / max(size_hw))
    height, width = (max(1, int(side * scale + 0.5)) for side in size_hw)
    return height, width


def recoloured(
    pixels: UInt8[np.ndarray, "h w 3"],
    settings: ColourSection,
    random: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """Brightness, then contrast, saturation and hue, each or not; contrast may also come last."""
    low, high = settings.contrast
    contrast = _sometimes(_scale, random.uniform(low, high), settings, random)
    low, high = settings.saturation
    saturation = _sometimes(_saturate, random.uniform(low, high), settings, random)
    hue = _sometimes(_turn, random.uniform(-settings.hue, settings.hue), settings, random)
    change = random.uniform(-settings.brightness, settings.brightness)
    brightness = _sometimes(_shift, change, settings, random)
    others = [contrast, saturation, hue] if random.random() < 0.5 else [saturation, hue, contrast]
    for change_colours in (brightness, *others):
        pixels = change_colours(pixels)
    return pixels


def _sometimes(
    change: Callable[[Pixels, float], Pixels],
    amount: float,
    settings: ColourSection,
    random: np.random.Generator,
) -> Callable[[Pixels], Pixels]:
    happens = random.random() < settings.colour
    return lambda pixels: change(pixels, amount) if happens else pixels


def _shift(pixels: Pixels, amount: float) -> Pixels:
    return _table(np.arange(256) + amount)[pixels]


def _scale(pixels: Pixels, factor: float) -> Pixels:
    return _table(np.arange(256) * factor)[pixels]


def _saturate(pixels: Pixels, factor: float) -> Pixels:
    return _in_hsv(pixels, 1, _table(np.arange(256) * factor))


def _turn(pixels: Pixels, degrees: float) -> Pixels:
    turned = np.rint(np.arange(256) + degrees / 360 * _FULL_TURN) % _FULL_TURN
    return _in_hsv(pixels, 0, turned.astype(np.uint8))


def _in_hsv(pixels: Pixels, band: int, table: UInt8[np.ndarray, " 256"]) -> Pixels:
    hsv = np.array(Image.fromarray(pixels).convert("HSV"))
    hsv[..., band] = table[hsv[..., band]]
    height, width = hsv.shape[:2]
    return np.array(Image.frombytes("HSV", (width, height), hsv.tobytes()).convert("RGB"))


def _table(values: np.ndarray) -> UInt8[np.ndarray, " 256"]:
    """What becomes of each of the 256 values."""
    return np.clip(values, 0, 255).astype(np.uint8)


def _start(length: int, crop: int, random: np.random.Generator) -> int:
    """Where the square begins; at the edge where the picture is the smaller one."""
    return int(random.integers(max(length - crop, 0) + 1))


def _cut(
    picture: Pixels, scaled_hw: tuple[int, int], start: tuple[int, int], crop: int
) -> UInt8[np.ndarray, "h w 3"]:
    box, size = _box(picture.shape[:2], scaled_hw, start, crop)
    image = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, box=box)
    return np.array(image)


def _cut_labels(
    label_map: Integer[np.ndarray, "H W"],
    scaled_hw: tuple[int, int],
    start: tuple[int, int],
    crop: int,
) -> Int[np.ndarray, "h w"]:
    rows, columns = (
        _nearest(own, scaled, first, crop)
        for own, scaled, first in zip(label_map.shape, scaled_hw, start, strict=True)
    )
    return label_map[np.ix_(rows, columns)].astype(np.int64)


def _nearest(own: int, scaled: int, start: int, crop: int) -> Int[np.ndarray, " n"]:
    """The rows of the label map that the rows of the cut lie on."""
    centre = np.arange(start, min(start + crop, scaled)) + 0.5
    return np.minimum((centre * own / scaled).astype(np.int64), own - 1)


def _box(
    own_hw: Sequence[int], scaled_hw: tuple[int, int], start: tuple[int, int], crop: int
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """The part of the picture that is cut out, and the width and height that it is scaled to.

    Scaling only that part gives the pixels that scaling the whole and then cutting would.
    """
    (top, left), (height, width) = start, scaled_hw
    bottom, right = min(top + crop, height), min(left + crop, width)
    down, across = own_hw[0] / height, own_hw[1] / width
    # In floats the last product may lie beyond the picture.
    box = (
        left * across,
        top * down,
        min(right * across, own_hw[1]),
        min(bottom * down, own_hw[0]),
    )
    return box, (right - left, bottom - top)


def _padded(values: np.ndarray, side: int, fill: int) -> np.ndarray:
    """A copy that ends in the fill on the right and below."""
    height, width = values.shape[:2]
    padding = [(0, side - height), (0, side - width), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, padding, constant_values=fill)
