"""How far confidence can be relied on: is what is said to be right in 80 of 100 cases right in 80?

Pixels are gathered in bins by their confidence; the expected calibration error is the distance of
mean confidence and share of right pixels, bin by bin, weighted by pixels (Guo et al., "On
calibration of modern neural networks", 2017).

Sizes: B bins, K pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

NUM_BINS = 15
_WHOLE = 1 << 16  # sums are of whole numbers, so that they do not depend on the order of pictures


class Bin(NamedTuple):
    """Pixels of about the same confidence.

    Attributes:
        above: The lowest confidence of the bin.
        pixels: How many there are.
        confidence: Their mean.
        accuracy: The share of those that are right.
    """

    above: float
    pixels: int
    confidence: float
    accuracy: float


def _no_pixels() -> Int[np.ndarray, " B"]:
    return np.zeros(NUM_BINS, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Pixels with a truth by their confidence, in bins of equal width.

    Attributes:
        pixels: How many lie in each bin.
        right: How many of these have the right class.
        confidence: The sum of theirs, in units of 1/65536.
    """

    pixels: Int[np.ndarray, " B"] = field(default_factory=_no_pixels)
    right: Int[np.ndarray, " B"] = field(default_factory=_no_pixels)
    confidence: Int[np.ndarray, " B"] = field(default_factory=_no_pixels)

    @classmethod
    def of(
        cls, confidence: Float[np.ndarray, " K"], is_right: Bool[np.ndarray, " K"]
    ) -> "Reliability":
        """Count pixels.

        Args:
            confidence: Of each pixel, from 0 to 1.
            is_right: Whether it has the right class.
        """
        place = np.minimum((confidence.astype(np.float64) * NUM_BINS).astype(int), NUM_BINS - 1)
        units = np.rint(confidence.astype(np.float64) * _WHOLE)
        return cls(
            pixels=np.bincount(place, minlength=NUM_BINS),
            right=np.bincount(place[is_right], minlength=NUM_BINS),
            confidence=np.bincount(place, units, minlength=NUM_BINS).astype(np.int64),
        )

    @classmethod
    def from_lists(cls, lists: Mapping[str, Any]) -> "Reliability":
        """What `as_lists` gave.

        Raises:
            KeyError, TypeError, ValueError: If it is none.
        """
        columns = {name: np.array(lists[name]) for name in cls.__dataclass_fields__}
        for column in columns.values():
            if column.shape != (NUM_BINS,) or column.dtype != np.int64 or (column < 0).any():
                raise ValueError(f"no {NUM_BINS} whole numbers")
        if (columns["right"] > columns["pixels"]).any():
            raise ValueError("more right pixels than pixels")
        return cls(**columns)

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            pixels=self.pixels + other.pixels,
            right=self.right + other.right,
            confidence=self.confidence + other.confidence,
        )

    def as_lists(self) -> dict[str, list[int]]:
        """Plain values for JSON."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    @property
    def calibration_error(self) -> float:
        """The expected calibration error, from 0 to 1; NaN without a pixel."""
        total = self.pixels.sum()
        gap = np.abs(self.confidence / _WHOLE - self.right)
        return float(gap.sum() / total) if total else float("nan")

    @property
    def bins(self) -> list[Bin]:
        """Those that have pixels."""
        return [
            Bin(
                number / NUM_BINS,
                int(pixels),
                float(confidence / _WHOLE / pixels),
                float(right / pixels),
            )
            for number, (pixels, right, confidence) in enumerate(
                zip(self.pixels, self.right, self.confidence, strict=True)
            )
            if pixels
        ]
