"""Colours of classes, the same in every file and on every machine: by index, or by name.

The first 24 colours were found by a farthest-point search over sRGB: any two of them differ in
OKLab, and still do as people without red or without green cones see them. From the 25th on a
low-discrepancy sequence walks through hue, chroma, and lightness; its colours are all different,
but with hundreds of names no palette is easy to tell apart.

Void has no colour of its own: label maps show it black, overlays leave the picture grey there.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from types import MappingProxyType

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


# What things look like, or what maps of streets and land use have used for them for long.
_BY_NAME: dict[str, tuple[str, ...]] = {
    "#6ec6ff": ("sky",),
    "#dfe9f2": ("cloud", "clouds", "fog"),
    "#1f6fd6": ("water", "sea", "ocean", "lake"),
    "#3f9be0": ("river", "pool", "swimming pool", "waterfall", "fountain", "canal"),
    "#7cc242": ("grass", "lawn", "field", "meadow"),
    "#2e7d32": ("tree", "trees", "forest", "vegetation", "wood"),
    "#5f9e54": ("plant", "bush", "shrub", "hedge", "potted plant", "leaves", "flora"),
    "#a8c46a": ("crop", "moss", "palm"),
    "#f06292": ("flower", "flowers"),
    "#9c7a4d": ("earth", "ground", "soil", "dirt", "mud", "land"),
    "#e8cf8f": ("sand", "beach", "desert"),
    "#8d8478": ("rock", "stone", "rocks", "gravel", "cliff"),
    "#7a6a86": ("mountain", "hill", "hills"),
    "#eef4fa": ("snow", "ice"),
    "#707880": ("road", "street", "asphalt", "highway", "runway"),
    "#a79fae": ("pavement", "sidewalk", "path", "square", "platform", "parking lot"),
    "#f5f5dc": ("lane marking", "road marking", "crosswalk", "zebra crossing"),
    "#5d4f6b": ("railroad", "rail track", "railway", "track"),
    "#b5835a": ("building", "house", "skyscraper", "tower", "church", "castle", "roof"),
    "#c9b79c": ("wall",),
    "#9e6b52": ("brick", "bridge", "tunnel", "stairs", "stairway"),
    "#c7a27c": ("fence", "railing", "gate"),
    "#c0b8a8": ("ceiling",),
    "#a98b6d": ("floor",),
    "#9fd3e8": ("window", "windowpane", "glass", "mirror"),
    "#8a5a3c": ("door", "cabinet", "wardrobe", "cupboard", "shelf", "bookcase", "drawer"),
    "#b8a33c": ("pole", "column", "lamp post", "street light"),
    "#f2d000": ("traffic sign", "sign", "stop sign", "signboard"),
    "#ff9e1b": ("traffic light",),
    "#e53935": ("person", "people", "man", "woman", "child", "pedestrian", "human", "face"),
    "#ff5fa2": ("rider", "bicyclist", "cyclist", "motorcyclist", "player"),
    "#283593": ("car", "van", "automobile", "vehicle"),
    "#4b56c0": ("truck", "lorry", "trailer"),
    "#00897b": ("bus", "coach", "minibus"),
    "#26a69a": ("train", "tram", "subway"),
    "#8e24aa": ("motorcycle", "motorbike", "moped", "scooter"),
    "#c2185b": ("bicycle", "bike"),
    "#5c6bc0": ("boat", "ship", "sailboat"),
    "#90a4d4": ("aeroplane", "airplane", "plane", "helicopter", "aircraft"),
    "#c47f2c": ("dog", "puppy"),
    "#f4a742": ("cat", "kitten"),
    "#6d4c41": ("horse", "bear", "bull"),
    "#a1665e": ("cow", "cattle", "deer"),
    "#e6dcc8": ("sheep", "goat", "lamb"),
    "#4dd0b1": ("bird", "duck", "chicken", "parrot"),
    "#7f8c9b": ("elephant", "rhino", "mouse"),
    "#3a3a3a": ("zebra", "tire", "tyre"),
    "#d9a441": ("giraffe", "lion", "tiger"),
    "#a0522d": ("table", "desk", "dining table", "coffee table", "counter", "countertop"),
    "#d2781e": ("chair", "stool", "bench", "seat"),
    "#7e57c2": ("sofa", "couch", "armchair"),
    "#b39ddb": ("bed", "pillow", "blanket"),
    "#d7a9c4": ("curtain", "cloth", "towel", "clothes", "rug", "carpet"),
    "#ffe082": ("lamp", "light", "chandelier"),
    "#37474f": ("tv", "television", "tvmonitor", "monitor", "screen", "laptop", "computer"),
    "#00acc1": ("bottle", "vase"),
    "#4f8ff7": ("cup", "mug", "glass of wine", "wine glass"),
    "#b0bec5": ("spoon", "fork", "knife", "sink", "refrigerator"),
    "#f8bbd0": ("plate", "bowl", "dish"),
    "#d32f6a": ("apple", "strawberry", "tomato"),
    "#ffd54f": ("banana", "lemon", "corn"),
    "#ff8f00": ("orange", "carrot", "pumpkin"),
    "#8bc34a": ("broccoli", "lettuce", "salad", "vegetable"),
    "#d7b377": ("bread", "cake", "pizza", "sandwich", "food"),
    "#5e8c31": ("book", "books"),
    "#d8dce1": ("background", "other", "unknown"),
}
_COLOUR_OF_NAME = {
    name: tuple(bytes.fromhex(colour[1:])) for colour, names in _BY_NAME.items() for name in names
}
_DISTINCT = 0.06  # of OKLab: nearer colours are hard to tell apart side by side
_SHADES = (0.0, -0.09, 0.09, -0.18, 0.18)  # of lightness, tried in turn for names alike
_MOST_SUITED = 1000  # names; of more no palette is easy to tell apart
_CANDIDATES = 3000


def name_colours(
    names: Sequence[str], own: Mapping[str, tuple[int, int, int]] = MappingProxyType({})
) -> UInt8[np.ndarray, "N 3"]:
    """Red, green, and blue that suit the names: a blue sky, green grass, red people, a grey road.

    The last word of a name counts if the whole is not known ("wooden table" is a table). Names that
    would get one colour get shades of it, and names that say nothing of colours get those that are
    left, far from all others. All colours differ, and the same names get the same ones everywhere.

    Args:
        names: Class names in index order; beyond the first thousand their index decides.
        own: Colours that somebody has chosen for names; of two that are equal, the second differs
            by a step that nobody sees.
    """
    chosen = tuple((name, own[name]) for name in names if name in own)
    return _name_colours(tuple(names), chosen).copy()


@lru_cache(maxsize=16)
def _name_colours(
    names: tuple[str, ...], chosen: tuple[tuple[str, tuple[int, int, int]], ...]
) -> UInt8[np.ndarray, "N 3"]:
    colours = class_colours(len(names))
    own = dict(chosen)
    fixed = np.array(list(own.values()), np.uint8).reshape(-1, 3)
    used = _to_oklab(fixed)
    suited = names[:_MOST_SUITED]
    rest = []
    for index, name in enumerate(names):
        if name in own:
            colours[index] = own[name]
    for index, name in enumerate(suited):
        if name in own:
            continue
        colour = _suiting(name, used)
        if colour is None:
            rest.append(index)
        else:
            colours[index] = colour
            used = np.append(used, _to_oklab(colours[index : index + 1]), axis=0)
    free = _all_colours()[:_CANDIDATES]
    free_oklab = _to_oklab(free)
    distance = np.full(len(free), np.inf)
    for colour in used:
        distance = np.minimum(distance, np.linalg.norm(free_oklab - colour, axis=1))
    for index in rest:
        far = np.flatnonzero(distance[: len(_FIRST)] >= 2 * _DISTINCT)
        best = int(far[0]) if far.size else int(distance.argmax())
        colours[index] = free[best]
        distance = np.minimum(distance, np.linalg.norm(free_oklab - free_oklab[best], axis=1))
    return _made_different(colours)


def _suiting(name: str, used: Float[np.ndarray, "used 3"]) -> UInt8[np.ndarray, " 3"] | None:
    """The name's colour in the first shade that no other has; None if there is none."""
    words = name.casefold().replace("_", " ").replace("-", " ").split()
    known = _COLOUR_OF_NAME.get(" ".join(words)) or _COLOUR_OF_NAME.get(words[-1] if words else "")
    if known is None:
        return None
    oklab = _to_oklab(np.array([known], dtype=np.uint8))
    for shade in _SHADES:
        colour = _to_srgb(oklab + np.array([shade, 0, 0]))
        if np.linalg.norm(used - _to_oklab(colour), axis=1).min(initial=np.inf) >= _DISTINCT:
            return colour[0]
    return None


def _to_oklab(colours: UInt8[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    srgb = colours / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cone = np.cbrt(np.linalg.solve(_CONE_TO_RGB, linear.T))  # (3, N)
    return np.linalg.solve(_OKLAB_TO_CONE, cone).T
