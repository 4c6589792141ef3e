"""One fixed colour for each class index, the same in every file and on every machine.

The first 24 colours were found by a farthest-point search over sRGB: any two of them differ in
OKLab, and still do as people without red or without green cones see them. From the 25th on a
low-discrepancy sequence walks through hue, chroma, and lightness; its colours are all different,
but with hundreds of names no palette is easy to tell apart.

Void has no colour of its own: label maps show it black, overlays leave the picture grey there.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8

MAX_NAMES = 65_535  # with the background; index 65535 is void in a 16-bit label map
VOID_COLOUR = (0, 0, 0)

_FIRST = (
    (45, 165, 210),
    (225, 75, 0),
    (135, 255, 105),
    (135, 75, 240),
    (255, 195, 0),
    (0, 45, 195),
    (240, 105, 195),
    (0, 150, 135),
    (135, 0, 105),
    (75, 135, 15),
    (195, 225, 165),
    (150, 75, 75),
    (0, 255, 225),
    (255, 60, 120),
    (75, 75, 15),
    (90, 105, 180),
    (255, 135, 0),
    (225, 165, 180),
    (90, 45, 150),
    (150, 180, 90),
    (165, 135, 255),
    (165, 120, 90),
    (105, 195, 255),
    (180, 45, 150),
)
_PLASTIC = 1.2207440846057596  # root of x^4 = x + 1, which spreads three axes best
_OKLAB_TO_CONE = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_CONE_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def class_colours(num_names: int) -> UInt8[np.ndarray, "N 3"]:
    """Red, green, and blue of class indices 0, 1, 2, ...; more names never change earlier ones.

    Args:
        num_names: From 0 to `MAX_NAMES`.
    """
    return _all_colours()[:num_names].copy()


@cache
def _all_colours() -> UInt8[np.ndarray, "N 3"]:
    step = np.arange(1, MAX_NAMES - len(_FIRST) + 1)[:, None]  # (N, 1)
    spread = (0.5 + step / _PLASTIC ** np.array([1, 2, 3])) % 1  # (N, 3)
    hue = 2 * np.pi * spread[:, 0]  # (N,)
    chroma = 0.07 + 0.13 * spread[:, 1]
    lightness = 0.42 + 0.46 * spread[:, 2]
    oklab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)  # (N, 3)
    return _made_different(np.concatenate([np.array(_FIRST, dtype=np.uint8), _to_srgb(oklab)]))


def _to_srgb(oklab: Float[np.ndarray, "N 3"]) -> UInt8[np.ndarray, "N 3"]:
    linear = ((oklab @ _OKLAB_TO_CONE.T) ** 3 @ _CONE_TO_RGB.T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * srgb).round().astype(np.uint8)


def _made_different(colours: UInt8[np.ndarray, "N 3"]) -> UInt8[np.ndarray, "N 3"]:
    code = colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])  # (N,)
    first = np.zeros(len(code), dtype=bool)
    first[np.unique(code, return_index=True)[1]] = True
    taken = set(code[first].tolist())
    for index in np.flatnonzero(~first):
        free = int(code[index])
        while free in taken:  # the next blue: too small a step to see, enough to tell files apart
            free = (free + 1) % (1 << 24)
        taken.add(free)
        code[index] = free
    return np.stack([code >> 16, code >> 8 & 255, code & 255], axis=1).astype(np.uint8)
