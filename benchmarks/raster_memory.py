"""Peak memory and time of `escnet segment` on a raster of gigapixels, most of which has no data.

    python benchmarks/raster_memory.py --side 40000 --out build/raster

The raster is made first: noisy fields in some blocks, nothing in the others. Windows without data
are not shown to the model, so the time says little; memory does not depend on how many there are.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

BLOCK = 512


def make_raster(path: Path, side: int, num_blocks: int) -> None:
    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": 3,
        "dtype": "uint8",
        "nodata": 0,
        "crs": "EPSG:32633",
        "transform": from_origin(500_000, 5_000_000, 0.5, 0.5),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "DEFLATE",
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as file:
        per_side = side // BLOCK
        for place in np.linspace(0, per_side**2 - 1, num_blocks).astype(int).tolist():
            row, column = divmod(place, per_side)
            coarse = rng.integers(20, 236, (3, BLOCK // 32, BLOCK // 32), np.uint8)
            block = coarse.repeat(32, axis=1).repeat(32, axis=2)
            block += rng.integers(0, 20, block.shape, np.uint8)
            top, left = row * BLOCK, column * BLOCK
            file.write(block, window=((top, top + BLOCK), (left, left + BLOCK)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=40_000)
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--format", default="labels,overlay,geojson,gpkg,json")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "made.tif"
    make_raster(path, arguments.side, arguments.blocks)
    start = time.monotonic()
    command = [sys.executable, "-m", "escnet", "segment", str(path), "--classes"]
    command += ["water, field, forest, road, building", "--out", str(arguments.out / "results")]
    command += ["--threads", "1", "--format", arguments.format, "--resume"]
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    result = {
        "pixels": arguments.side**2,
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_mb": usage.ru_maxrss // 1024,
        "result_mb": (arguments.out / "results" / "made.labels.tif").stat().st_size >> 20,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
