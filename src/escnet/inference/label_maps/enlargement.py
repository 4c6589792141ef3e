"""Maps brought to another size bilinearly, as torch does it without aligned corners.

Some rows can be had without the others. Columns come first, on the smaller map.

Sizes: h x w the map, H x W what comes out.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int


class Axis(NamedTuple):
    """Of each place of the larger axis the two places of the smaller one that it lies between.

    Attributes:
        low: The one before.
        high: The one behind; the same where its share is 0.
        share: How much of the one behind.
    """

    low: Int[np.ndarray, " n"]
    high: Int[np.ndarray, " n"]
    share: Float32[np.ndarray, " n"]

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, size: int, enlarged: int) -> "Axis":
        """The axis that leads from one number of places to another."""
        # In single precision, as torch does it, so that the same pixel comes out.
        half = np.float32(0.5)
        place = (np.arange(enlarged, dtype=np.float32) + half) * np.float32(size / enlarged) - half
        place = place.clip(0, size - 1)
        low = np.minimum(place.astype(np.intp), size - 1)
        share = place - low.astype(np.float32)
        return cls(low, low + (share > 0), share)


class Enlargement:
    """The way from maps of one size to those of another, which may be smaller.

    Args:
        size_hw: h and w.
        enlarged_hw: H and W.
    """

    def __init__(self, size_hw: tuple[int, ...], enlarged_hw: tuple[int, int]) -> None:
        self._size_hw, self._enlarged_hw = size_hw, enlarged_hw
        self._down = Axis.of(size_hw[0], enlarged_hw[0])
        self._across = Axis.of(size_hw[1], enlarged_hw[1])

    def source(self, rows: slice) -> slice:
        """The rows of a map that some rows of the enlarged one are made of."""
        return slice(int(self._down.low[rows][0]), int(self._down.high[rows][-1]) + 1)

    def rows(self, part: Float32[np.ndarray, "_ w"], rows: slice) -> Float32[np.ndarray, "_ W"]:
        """Some rows of the enlarged map; what is of the same size may be the same memory.

        Args:
            part: The rows of the map that `source` names.
            rows: Rows of the enlarged map.
        """
        wide = part
        if self._size_hw[1] != self._enlarged_hw[1]:
            low, high, share = self._across
            wide = _between(part.take(low, axis=1), part.take(high, axis=1), share)
        if self._size_hw[0] == self._enlarged_hw[0]:
            return wide
        first = self.source(rows).start
        low, high, share = (values[rows] for values in self._down)
        return _between(wide[low - first], wide[high - first], share[:, None])


def enlarged(
    values: Float32[np.ndarray, "h w"], size_hw: tuple[int, int]
) -> Float32[np.ndarray, "H W"]:
    """A whole map, brought to another size."""
    enlargement, every = Enlargement(values.shape, size_hw), slice(0, size_hw[0])
    return enlargement.rows(values[enlargement.source(every)], every)


def _between(
    low: Float32[np.ndarray, "_ _"],
    high: Float32[np.ndarray, "_ _"],
    share: Float32[np.ndarray, "..."],
) -> Float32[np.ndarray, "_ _"]:
    """The weighted mean of two arrays, in the memory of the first."""
    low *= 1 - share
    high *= share
    low += high
    return low
