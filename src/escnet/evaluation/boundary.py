"""Boundary IoU: how well the outlines agree (Cheng et al., CVPR 2021, arXiv:2103.16562).

Of a class's truth and prediction only the band along the outline counts: the pixels from which some
pixel outside the class, or beyond the picture's edge, is at most d away along both axes, with d two
hundredths of the picture's diagonal. Large objects cannot hide a poor outline behind their inside.

The bands of all classes are one map: a pixel lies inside its class's area just if the smallest and
the largest label around it are equal.

Sizes: H x W pixels, N classes.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int, Integer

_BAND_SHARE = 0.02  # of the diagonal


def boundary_counts(
    truth: Integer[np.ndarray, "H W"],
    prediction: Integer[np.ndarray, "H W"],
    *,
    num_classes: int,
    ignore_label: int,
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """For each class the pixels in both bands, and those in either.

    Args:
        truth: Classes and the ignore label.
        prediction: Classes; where the truth is ignored, so is this.
        num_classes: N.
        ignore_label: Of pixels that nobody labelled; they are outside every class.
    """
    outside = num_classes  # one past the classes, so that both maps are small integers
    true = np.where(truth == ignore_label, outside, truth).astype(np.uint16)
    predicted = np.where(truth == ignore_label, outside, prediction).astype(np.uint16)
    distance = band_distance(truth.shape)
    true_band, predicted_band = label_bands(true, distance), label_bands(predicted, distance)

    def count(labels: Integer[np.ndarray, " P"]) -> Int[np.ndarray, " N"]:
        return np.bincount(labels, minlength=num_classes + 1)[:num_classes]

    both = count(true[true_band & predicted_band & (true == predicted)])
    return both, count(true[true_band]) + count(predicted[predicted_band]) - both


def band_distance(size_hw: tuple[int, ...]) -> int:
    """The width of the bands in a picture of that size, at least one pixel."""
    return max(1, round(_BAND_SHARE * math.hypot(*size_hw)))


def label_bands(label_map: Integer[np.ndarray, "H W"], distance: int) -> Bool[np.ndarray, "H W"]:
    """True for pixels with another label, or the picture's edge, at most `distance` away."""
    smallest = _around(label_map, distance, np.minimum)
    inside = smallest == _around(label_map, distance, np.maximum)
    inside[:distance] = inside[-distance:] = False
    inside[:, :distance] = inside[:, -distance:] = False
    return ~inside


def _around(
    label_map: Integer[np.ndarray, "H W"], distance: int, pick: Callable[..., np.ndarray]
) -> Integer[np.ndarray, "H W"]:
    """The smallest or largest value of the square around each pixel.

    Pixels nearer to the edge than `distance` get any value.
    """
    extreme = label_map.copy()
    for axis in (0, 1):
        rows = np.moveaxis(extreme, axis, 0)
        width = 2 * distance + 1
        if rows.shape[0] < width:
            continue  # all of it is nearer to the edge
        picked = _run(rows, width, pick)
        rows[distance : distance + len(picked)] = picked
    return extreme


def _run(
    rows: Integer[np.ndarray, "L ..."], width: int, pick: Callable[..., np.ndarray]
) -> Integer[np.ndarray, "M ..."]:
    """Entry i of the result is picked from rows i to i + width - 1; by doubling the reach."""
    reach = 1
    while 2 * reach <= width:
        rows = pick(rows[:-reach], rows[reach:])
        reach *= 2
    rest = width - reach
    return pick(rows[: len(rows) - rest], rows[rest:]) if rest else rows
