"""Connected regions of a label map, and the borders that they share.

Pixels are connected through their sides, not through their corners: two pixels of one name that
touch at a corner alone are two regions, as they are two polygons.

Sizes: R regions, in the order in which their first pixels are read.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The connected regions of one label map.

    Attributes:
        region_map: The region of each pixel, from 0.
        labels: The value that the label map has in each region.
        areas: Pixels of each region.
    """

    region_map: Int[np.ndarray, "H W"]
    labels: Int[np.ndarray, " R"]
    areas: Int[np.ndarray, " R"]


def connected_regions(label_map: UInt[np.ndarray, "H W"] | Bool[np.ndarray, "H W"]) -> Regions:
    """The regions of pixels that have one value and are connected through their sides."""
    starts = np.ones(label_map.shape, dtype=bool)  # of the runs of one value in each row
    starts[:, 1:] = label_map[:, 1:] != label_map[:, :-1]
    run_map = (np.cumsum(starts.ravel()) - 1).reshape(label_map.shape)
    touching = label_map[1:] == label_map[:-1]  # pixels of one value below each other
    first = touching.copy()  # each pair of runs once
    first[:, 1:] &= ~(touching[:, :-1] & ~starts[1:, 1:] & ~starts[:-1, 1:])
    num_runs = int(starts.sum())
    joined = _joined(num_runs, run_map[:-1][first], run_map[1:][first])
    _, first_run, region_of_run = np.unique(joined, return_index=True, return_inverse=True)
    region_map = region_of_run[run_map]
    return Regions(
        region_map=region_map,
        labels=label_map[starts][first_run].astype(np.int64),
        areas=np.bincount(region_map.ravel(), minlength=len(first_run)),
    )


def _joined(
    num_runs: int, one: Int[np.ndarray, " pairs"], other: Int[np.ndarray, " pairs"]
) -> Int[np.ndarray, " runs"]:
    """For each run the smallest of those that it is joined with through pairs."""
    smallest = np.arange(num_runs)
    while one.size:
        a, b = smallest[one], smallest[other]
        apart = a != b
        one, other, a, b = one[apart], other[apart], a[apart], b[apart]
        np.minimum.at(smallest, np.maximum(a, b), np.minimum(a, b))
        while True:  # let each point at the end of its chain
            further = smallest[smallest]
            if np.array_equal(further, smallest):
                break
            smallest = further
    return smallest


def shared_borders(
    region_map: Int[np.ndarray, "H W"],
) -> tuple[Int[np.ndarray, "borders 2"], Int[np.ndarray, " borders"]]:
    """Pairs of regions that share a border, the smaller number first, and its length in pixels."""
    num_regions = int(region_map.max(initial=-1)) + 1
    codes = []
    for one, other in (
        (region_map[:, :-1], region_map[:, 1:]),
        (region_map[:-1], region_map[1:]),
    ):
        apart = one != other
        a, b = one[apart], other[apart]
        codes.append(np.minimum(a, b) * num_regions + np.maximum(a, b))
    code, length = np.unique(np.concatenate(codes), return_counts=True)
    return np.stack(np.divmod(code, max(num_regions, 1)), axis=1), length
