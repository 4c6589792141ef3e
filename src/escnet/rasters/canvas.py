"""A raster as a canvas for windows."""

import numpy as np
from jaxtyping import UInt8

from escnet.rasters.source import Raster


class RasterCanvas:
    """Windows of a raster, read as they are asked for.

    Args:
        raster: Open.
    """

    def __init__(self, raster: Raster) -> None:
        self.size_hw = raster.size_hw
        self._raster = raster
        self._whole: UInt8[np.ndarray, "_ _ 3"] | None = None

    def view(self, rows: slice, columns: slice) -> UInt8[np.ndarray, "_ _ 3"] | None:
        """A window; None where the raster has no data."""
        part = self._raster.part(rows, columns)
        return part.pixels if part.is_valid.any() else None

    def whole(self) -> UInt8[np.ndarray, "_ _ 3"]:
        """All of it, reduced where it is large."""
        if self._whole is None:
            self._whole = self._raster.whole()
        return self._whole
