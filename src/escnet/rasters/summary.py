"""What the label map of a raster holds, in numbers: its size and place, shares and areas."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from escnet.rasters.chunks import ChunkFolder, chunk_results
from escnet.rasters.polygons import area_unit
from escnet.rasters.source import Raster


def raster_summary(raster: Raster, folder: ChunkFolder, names: Sequence[str]) -> dict[str, Any]:
    """Plain values for JSON, from the raster's chunks.

    Shares are fractions of all pixels, those without data among them; areas are in square units of
    the map.

    Raises:
        OutputError: If a chunk is not there.
    """
    counts, sums = np.zeros(len(names), np.int64), np.zeros(len(names))
    num_valid = 0
    for _, finished in chunk_results(folder, raster.size_hw):
        counts += finished.counts
        sums += finished.confidence
        num_valid += finished.num_valid
    height, width = raster.size_hw
    transform, crs = raster.dataset.transform, raster.dataset.crs
    area = abs(transform.determinant) * counts
    share = counts / raster.num_pixels
    return {
        "height": height,
        "width": width,
        "crs": crs.to_string() if crs else None,
        "transform": list(transform)[:6],
        "area_unit": area_unit(crs),
        "data": {"share": round(num_valid / raster.num_pixels, 6)},
        "void": {"share": round(1 - float(share.sum()), 6)},
        "names": [
            {
                "index": index,
                "name": name,
                "share": round(float(share[index]), 6),
                "area": float(area[index]),
                "mean_confidence": round(float(sums[index] / count), 4) if count else None,
            }
            for index, (name, count) in enumerate(zip(names, counts.tolist(), strict=True))
        ],
    }
