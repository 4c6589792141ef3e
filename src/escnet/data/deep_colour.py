"""Colours of 16 bits and more, and pictures of several bands, which Pillow has no mode for.

Pillow keeps the upper byte of each, which leaves 16 shades of a camera's 12 bits. The packages of
the extra `pictures` read all of them; without it, colours that the upper bytes do not hold are
refused.

Sizes: H x W pixels, C channels: red, green, blue, and perhaps alpha.
"""

from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from escnet.data.picture_formats import EXTRA
from escnet.errors import ImageError

_LEAST_UPPER_BYTE = 64  # a largest one below it leaves fewer shades than a picture needs


def is_deep(image: Image.Image) -> bool:
    """Whether a picture that is open, but not decoded, has colours of 16 bits."""
    tiles: Any = getattr(image, "tile", [])
    return image.mode in {"RGB", "RGBA", "RGBX", "LA"} and any(";16" in str(tile) for tile in tiles)


def deep_colours(image: Image.Image) -> Shaped[np.ndarray, "H W C"] | None:
    """The colours of such a picture as stored; None where no package here reads them.

    Args:
        image: Open, at the page that is wanted.
    """
    stream = getattr(image, "fp", None)
    if stream is None or image.format not in {"PNG", "TIFF"}:
        return None
    try:
        import imagecodecs  # noqa: PLC0415 -- of an extra
        import tifffile  # noqa: PLC0415
    except ImportError:
        return None
    place = stream.tell()
    try:
        stream.seek(0)
        if image.format == "PNG":
            return _grey_as_colours(np.asarray(imagecodecs.png_decode(stream.read())))
        with tifffile.TiffFile(stream) as file:
            page: Any = file.pages[image.tell()]
            return _channels_last(np.asarray(page.asarray()), image.size)
    except (ValueError, RuntimeError, tifffile.TiffFileError) as error:
        raise ValueError(f"its colours cannot be decoded: {error}") from None
    finally:
        stream.seek(place)


def check_upper_bytes(rgb: UInt8[np.ndarray, "H W 3"], shown: str) -> None:
    """Refuse the upper bytes of 16-bit colours where they are hardly anything.

    Raises:
        ImageError: If the largest is small, as 12 bits in 16 leave it.
    """
    if rgb.max() < _LEAST_UPPER_BYTE:
        raise ImageError(
            f"{shown} has colours of 16 bits that use only the lower ones (at most "
            f"{256 * int(rgb.max()) + 255}): {EXTRA}, or save it with 8 bits"
        )


def _channels_last(
    values: Shaped[np.ndarray, "..."], size: tuple[int, int]
) -> Shaped[np.ndarray, "H W C"]:
    """The first three bands, or four with alpha: other bands are no colours."""
    if values.ndim == 3 and values.shape[2] < 3 <= values.shape[0]:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[:2] != size[::-1] and values.shape[1:] == size[::-1]:
        values = np.moveaxis(values, 0, -1)  # (H, W, C)
    return values[:, :, :3]


def _grey_as_colours(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "H W C"]:
    """Grey with alpha as colours with alpha."""
    if values.shape[2] == 2:
        return values[:, :, [0, 0, 0, 1]]
    return values
