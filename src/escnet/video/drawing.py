"""Frames washed with the colours of their classes, beside one legend for the whole film.

Sizes: H x W pixels.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt, UInt8

from escnet.annotations.format import FormatOptions
from escnet.annotations.overlay import draw_key, draw_overlay


class FrameDrawing:
    """Draws the frames of one film.

    Args:
        names: Class names in index order.
        options: Which say how.
    """

    def __init__(self, names: Sequence[str], options: FormatOptions) -> None:
        self._names, self._options = names, options
        self._colours = options.colours(names)
        self._key: tuple[tuple[int, ...], UInt8[np.ndarray, "_ _ 3"], bool] | None = None

    def of(
        self, pixels: UInt8[np.ndarray, "H W 3"], label_map: UInt[np.ndarray, "H W"]
    ) -> UInt8[np.ndarray, "_ _ 3"]:
        """The frame with its colours and the legend, of even height and width, as codecs ask."""
        options = self._options
        drawn = draw_overlay(
            pixels,
            label_map,
            self._names,
            opacity=options.opacity,
            legend=False,
            colours=self._colours,
            outlines=options.outlines,
            only=options.only,
        )
        height, width = drawn.shape[:2]
        if self._key is None or self._key[0] != drawn.shape:
            self._key = drawn.shape, *draw_key((height, width), self._names, self._colours)
        _, key, is_below = self._key
        high = height + key.shape[0] if is_below else max(height, key.shape[0])
        wide = max(width, key.shape[1]) if is_below else width + key.shape[1]
        sheet = np.full((high + high % 2, wide + wide % 2, 3), key[0, 0], np.uint8)
        sheet[:height, :width] = drawn
        top, left = (height, 0) if is_below else (0, width)
        sheet[top : top + key.shape[0], left : left + key.shape[1]] = key
        return sheet
