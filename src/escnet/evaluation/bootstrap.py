"""How far a score would move with other pictures of the same kind: the bootstrap.

Pictures are drawn again with replacement as many times as there are, and each draw is scored like
the whole. All scores are functions of sums over pictures, so a draw is a product of its picture
counts with the table of what was counted in each picture, of which only what is not zero is kept.

Sizes: P pictures, R resamples, Q quantities, N classes.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from escnet.evaluation.metrics import QUANTITIES, PictureCounts, SeenClasses, scores_of

NUM_RESAMPLES = 1000
_CONFIDENCE = 0.95
_AT_ONCE = 64  # resamples, whose sums of 847 classes take 6 MB


class PictureTable:
    """What was counted in each picture, without the zeros."""

    def __init__(self, pictures: Iterable[PictureCounts], num_classes: int) -> None:
        self.num_classes = num_classes
        self.num_pictures = 0
        places, values, owners = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, np.int64)]
        for picture in pictures:
            sums = picture.sums(num_classes).ravel()
            place = np.flatnonzero(sums)
            places.append(place)
            values.append(sums[place])
            owners.append(np.full(len(place), self.num_pictures))
            self.num_pictures += 1
        self._place, self._value = np.concatenate(places), np.concatenate(values)
        self._picture = np.concatenate(owners)

    def sums(self, weights: Float[np.ndarray, "R P"]) -> Float[np.ndarray, "R Q N"]:
        """The sums over pictures, each picture counted as often as its weight says."""
        shape = len(QUANTITIES), self.num_classes
        sums = [
            np.bincount(self._place, self._value * weight[self._picture], math.prod(shape))
            for weight in weights
        ]
        # of no pixel at all NumPy counts in whole numbers
        return np.reshape(np.asarray(sums, np.float64), (-1, *shape))


def resampled_weights(
    num_pictures: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Iterator[Float[np.ndarray, "R P"]]:
    """How often each picture is drawn in each resample, a few resamples at a time."""
    random = np.random.default_rng(seed)
    share = np.full(num_pictures, 1 / num_pictures)
    for start in range(0, num_resamples, _AT_ONCE):
        count = min(_AT_ONCE, num_resamples - start)
        yield random.multinomial(num_pictures, share, size=count).astype(np.float64)


def intervals(
    table: PictureTable,
    seen: SeenClasses | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """For each score that is defined, where it lies in 95 of 100 resamples.

    Args:
        table: The pictures.
        seen: Which classes the model was trained on, where that is known.
        num_resamples: R.
        seed: The same seed gives the same intervals.
    """
    if not table.num_pictures:
        return {}
    draws = resampled_weights(table.num_pictures, num_resamples=num_resamples, seed=seed)
    parts = [scores_of(table.sums(weights), seen) for weights in draws]
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        name: bounds
        for name, values in scores.items()
        if (bounds := percentile_interval(values)) is not None
    }


def percentile_interval(values: Float[np.ndarray, " R"]) -> tuple[float, float] | None:
    """The middle 95 % of the resampled values that are numbers; None if none is."""
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
