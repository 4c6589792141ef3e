"""How sure a name is where it is surest, by which a picture is judged to show it at all.

Where a network judges by a summary of the whole picture which names it shows, its logits hold that.

Sizes: L labels, h x w the grid of the logits.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from escnet.inference.label_maps.probability import sigmoid

_PEAK = 0.999  # of a map's values so many lie below its peak: single places are often wrong


def peak(logits: Float32[np.ndarray, "h w"]) -> float:
    """What the surest thousandth of a map reaches."""
    return float(np.quantile(logits, _PEAK, method="higher"))


def peak_probabilities(
    labels: Sequence[int], logits: Float32[np.ndarray, "L h w"], num_labels: int
) -> Float32[np.ndarray, " N"]:
    """The probability of each label where it is surest; 0 for one that was left no chance.

    Args:
        labels: Whose the maps are; those from `num_labels` on are none that was asked for.
        logits: Of the picture as a whole.
        num_labels: N.
    """
    found = np.full(num_labels, -np.inf, np.float32)
    for label, own in zip(labels, logits, strict=True):
        if label < num_labels:
            found[label] = peak(own)
    return sigmoid(found)
