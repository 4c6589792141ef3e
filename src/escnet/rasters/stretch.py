"""Values of a raster to bytes: what becomes black, and what white.

Bytes stay as they are unless a stretch is asked for. Other values are stretched from the 2nd to the
98th percentile of each band, as QGIS shows them, or from one value to another, so that several
rasters get the same.

Sizes: B bands, H x W pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from escnet.data.value_range import ValueRange, to_bytes
from escnet.errors import ConfigError, setting

_USUAL = (2.0, 98.0)


class Stretch(NamedTuple):
    """How values become bytes.

    Attributes:
        low: The percentile, or the value, that becomes 0.
        high: The one that becomes 255.
        is_values: Whether these are values.
    """

    low: float
    high: float
    is_values: bool = False

    @classmethod
    def parse(cls, text: str) -> "Stretch":
        """A stretch from "2,98", percentiles, or "0..3000", values.

        Raises:
            ConfigError: If it is neither.
        """
        is_values = ".." in text
        low, _, high = text.partition(".." if is_values else ",")
        try:
            stretch = cls(float(low), float(high), is_values)
        except ValueError:
            stretch = cls(0, 0)
        is_within = is_values or 0 <= stretch.low < stretch.high <= 100
        if not (is_within and -np.inf < stretch.low < stretch.high < np.inf):
            raise ConfigError(
                f"{setting('stretch')} {text!r} is no range: give percentiles such as 2,98, or "
                "values such as 0..3000"
            )
        return stretch

    def ranges(self, samples: Sequence[Shaped[np.ndarray, " values"]]) -> list[ValueRange]:
        """What becomes 0 and 255 in each band.

        Args:
            samples: Values of each band, which may be none.
        """
        if self.is_values:
            return [ValueRange(self.low, self.high) for _ in samples]
        return [self._range(values) for values in samples]

    def _range(self, values: Shaped[np.ndarray, " values"]) -> ValueRange:
        if not values.size:
            return ValueRange(0, 1)
        low, high = np.percentile(values.astype(np.float64), (self.low, self.high)).tolist()
        return ValueRange(low, high)


USUAL = Stretch(*_USUAL)


def stretched(
    values: Shaped[np.ndarray, "B H W"], ranges: Sequence[ValueRange]
) -> UInt8[np.ndarray, "H W B"]:
    """The values as bytes."""
    bands = [to_bytes(band, own) for band, own in zip(values, ranges, strict=True)]
    return np.stack(bands, axis=-1)  # (H, W, B)
