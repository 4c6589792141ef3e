"""What windows are cut out of: a picture in memory, or one that is read piece by piece.

Sizes: h x w the canvas.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from escnet.inference.label_maps.published_resize import View, square, to_short_side
from escnet.inference.label_maps.windows import Windows


@runtime_checkable
class Canvas(Protocol):
    """A picture in the size in which it is cut into windows."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def view(self, rows: slice, columns: slice) -> View | None:
        """A part of it; None where nothing of it is to be labelled."""

    def whole(self) -> View:
        """All of it, in a size of its own."""


class PictureCanvas:
    """A picture in memory as a canvas.

    Args:
        pixels: The picture.
        windows: How it is cut, which says what size it is brought to.
        side: Of a window, as far as the canvas has room for it.
    """

    def __init__(self, pixels: UInt8[np.ndarray, "H W 3"], windows: Windows, side: int) -> None:
        self.size_hw = windows.canvas_hw((pixels.shape[0], pixels.shape[1]))
        self._whole: View = pixels
        self._canvas: View
        if windows.size is None:
            self._canvas = _resized(pixels, self.size_hw)
        else:
            pixels = to_short_side(pixels, windows.size, may_grow=True)
            self._canvas = square(pixels, windows.size)
            self._whole = square(pixels, side)

    def view(self, rows: slice, columns: slice) -> View:
        """A part of it."""
        return np.ascontiguousarray(self._canvas[rows, columns])

    def whole(self) -> View:
        """All of it: of the published steps a square, else the picture itself."""
        return self._whole


def _resized(
    pixels: UInt8[np.ndarray, "_ _ 3"], size_hw: tuple[int, int]
) -> UInt8[np.ndarray, "_ _ 3"]:
    if pixels.shape[:2] == size_hw:
        return pixels
    height, width = size_hw
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
