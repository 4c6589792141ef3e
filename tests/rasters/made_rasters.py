"""Rasters that tests make."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -20, 5_000_000)}


def write_raster(path: Path, pixels: np.ndarray, **profile: object) -> Path:
    """A GeoTIFF of H x W x bands; pixels are 10 by 20 metres."""
    height, width, count = pixels.shape
    made = {"driver": "GTiff", "height": height, "width": width, "count": count}
    with rasterio.open(path, "w", **{**made, "dtype": pixels.dtype, **PLACE, **profile}) as file:
        file.write(np.moveaxis(pixels, -1, 0))
    return path


def write_header(path: Path, **profile: object) -> Path:
    """A GeoTIFF of three bands without any pixels."""
    made = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "sparse_ok": True}
    with rasterio.open(path, "w", **{**made, **PLACE, "bigtiff": "YES", **profile}):
        return path
