"""Pictures of more than 8 bits: whole numbers and fractions become bytes by one rule.

A file says how many bits a value has, but seldom how many are used: cameras leave 12 bits in 16,
satellites a reflectance of 0 to 10,000, programs fractions of one. So the range goes from 0 to the
least usual maximum that holds the largest value: 1 (fractions only), 255, 1023, 4095, 16383, or
65535. Fractions of one are those with a largest value of at most 1; a reflectance goes beyond 1 in
the brightest places, so fractions up to 2 go from 0 to their largest value. A picture with negative
values, or with larger ones, such as heights or temperatures, is stretched from its smallest value
to its largest. NaN and minus infinity become 0, infinity 255. A depth that the caller gives, in
bits, takes the rule's place; values beyond it become 255.

Sizes: H x W pixels, C channels, which share one range.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from escnet.errors import ImageError, setting

DEPTHS = range(8, 33)
_USUAL_DEPTHS = (8, 10, 12, 14, 16)
_MOST_REFLECTED = 2.0


class ValueRange(NamedTuple):
    """The values that became 0 and 255."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


def check_depth(depth: object) -> None:
    """Check a depth that a caller gives.

    Raises:
        ImageError: If no picture has it.
    """
    if depth is not None and (type(depth) is not int or depth not in DEPTHS):
        raise ImageError(
            f"{setting('depth')} {depth!r} is no number of bits: give 8 to 32, or leave it out"
        )


def range_of(values: Shaped[np.ndarray, "..."], depth: int | None = None) -> ValueRange:
    """The range of a picture's values, by the rule of this module.

    Args:
        values: Whole numbers or fractions.
        depth: Bits that are used, where the caller knows.

    Raises:
        ImageError: If no picture has that depth.
    """
    check_depth(depth)
    if depth is not None:
        return ValueRange(0, 2**depth - 1)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low >= 0:
        is_fraction = np.issubdtype(values.dtype, np.floating)
        if is_fraction and 1 < high <= _MOST_REFLECTED:
            return ValueRange(0, high)
        fractions = [1.0] if is_fraction else []
        for usual in (*fractions, *(2.0**bits - 1 for bits in _USUAL_DEPTHS)):
            if high <= usual:
                return ValueRange(0, usual)
    return ValueRange(low, high)


def to_bytes(
    values: Shaped[np.ndarray, "H W *C"], value_range: ValueRange
) -> UInt8[np.ndarray, "H W *C"]:
    """The values as bytes, rounded to the nearest."""
    with np.errstate(invalid="ignore"):  # a signalling NaN in the file is a NaN like any other
        values = values.astype(np.float64)
    low, high = value_range
    share = (values - low) / (high - low or 1.0)
    share = np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return np.rint(255 * share).astype(np.uint8)
