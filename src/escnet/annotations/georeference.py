"""Where on Earth a picture is: from pixels to the coordinates of a map.

Read from the tags of a GeoTIFF, or from a world file beside the picture (photo.jgw beside
photo.jpg), without a library for maps.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

_PIXEL_SCALE, _TIE_POINTS, _TRANSFORM, _KEYS = 33550, 33922, 34264, 34735  # GeoTIFF's tags
_GEOGRAPHIC, _PROJECTED = 2048, 3072  # its keys for the coordinate system
_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2
_USER_DEFINED = 32767
_LONGEST_WORLD_FILE = 4096  # bytes


class Georeference(NamedTuple):
    """An affine map from pixels to coordinates: X = a x + b y + c, Y = d x + e y + f.

    Attributes:
        transform: The numbers a, b, c, d, e, f; (x, y) = (0, 0) is the picture's outer corner.
        epsg: The coordinate system's number in EPSG's list; None if it is not known.
    """

    transform: tuple[float, float, float, float, float, float]
    epsg: int | None = None

    def to_map(self, points_xy: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
        """Coordinates of points given in pixels."""
        a, b, c, d, e, f = self.transform
        x, y = points_xy.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)


def read_georeference(picture: str | Path) -> Georeference | None:
    """Where the picture is, by its own tags or a world file beside it; None if neither says."""
    picture = Path(picture)
    with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        with Image.open(picture, formats=["TIFF"]) as image:
            tags = dict(getattr(image, "tag_v2", {}))
        if (georeference := _from_tags(tags)) is not None:
            return georeference
    return _from_world_file(picture)


def _from_tags(tags: dict[int, object]) -> Georeference | None:
    keys = _geo_keys(tags.get(_KEYS))
    epsg = keys.get(_PROJECTED) or keys.get(_GEOGRAPHIC)
    epsg = None if epsg == _USER_DEFINED else epsg
    half = 0.5 if keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT else 0.0
    matrix, scale, tie = (
        _numbers(tags.get(tag)) for tag in (_TRANSFORM, _PIXEL_SCALE, _TIE_POINTS)
    )
    if len(matrix) == 16:
        a, b, _, c, d, e, _, f = matrix[:8]
    elif len(scale) >= 2 and len(tie) >= 6:
        a, b, d, e = scale[0], 0.0, 0.0, -scale[1]
        c, f = tie[3] - a * tie[0], tie[4] - e * tie[1]
    else:
        return None
    return Georeference((a, b, c - half * (a + b), d, e, f - half * (d + e)), epsg)


def _geo_keys(directory: object) -> dict[int, int]:
    """Keys whose values stand in the directory itself."""
    numbers = [int(number) for number in _numbers(directory)][4:]
    rows = [numbers[start : start + 4] for start in range(0, len(numbers) - 3, 4)]
    return {key: value for key, place, _, value in rows if place == 0}


def _numbers(tag: object) -> list[float]:
    return [float(number) for number in tag] if isinstance(tag, tuple) else []


def _from_world_file(picture: Path) -> Georeference | None:
    suffix = picture.suffix
    names = [f"{suffix}w", ".wld", *([f".{suffix[1]}{suffix[-1]}w"] if len(suffix) > 2 else [])]
    for name in names:
        with suppress(OSError, ValueError):
            path = picture.with_suffix(name)
            if path.is_file() and path.stat().st_size <= _LONGEST_WORLD_FILE:
                a, d, b, e, c, f = (float(word) for word in path.read_text("ascii").split())
                # a world file tells the centre of the first pixel
                return Georeference((a, b, c - (a + b) / 2, d, e, f - (d + e) / 2))
    return None
