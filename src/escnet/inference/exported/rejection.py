"""Which names the head sees, chosen by the first maps: `escnet.model.pruning`, without PyTorch.

An exported head takes any number of names, and leaves out none. Names are rejected once, before it,
where the network looks at its maps again before every block.

Sizes: N names, L labels, h x w patches.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from escnet.inference.label_maps.probability import sigmoid


def likely_names(maps: Float32[np.ndarray, "N h w"], most: int) -> list[int]:
    """The names of the highest peaks, in their own order; see the other of this name.

    Args:
        maps: How well each name fits each patch.
        most: At most this many; 0 for all.
    """
    if most == 0 or most >= len(maps):
        return list(range(len(maps)))
    peak = maps.max(axis=(1, 2))
    return sorted(np.argsort(-peak, kind="stable")[:most].tolist())


def left_names(
    maps: Float32[np.ndarray, "N h w"], owner: Sequence[int], most_labels: int
) -> list[int]:
    """The names of the labels that stand highest, in their own order.

    Args:
        maps: How well each name fits each patch.
        owner: The label of each name; the names of a label stay or go together.
        most_labels: At most this many labels.
    """
    labels = sorted(set(owner))
    if len(labels) <= most_labels:
        return list(range(len(maps)))
    place = np.searchsorted(labels, owner)
    of_label = np.full((len(labels), *maps.shape[1:]), -np.inf, np.float32)
    np.maximum.at(of_label, place, maps)
    best = np.argsort(-standing(of_label), kind="stable")[:most_labels]
    return np.flatnonzero(np.isin(place, best)).tolist()


def standing(maps: Float32[np.ndarray, "L h w"]) -> Float32[np.ndarray, " L"]:
    """How many patches each label is the best of; if of none, how far it is behind at the nearest.

    Of those that are the best of equally many the one of the higher peak stands higher.
    """
    gap = maps - maps.max(axis=0)
    won = (gap == 0).sum(axis=(1, 2))
    peak = maps.max(axis=(1, 2))
    return np.where(won > 0, won + sigmoid(peak), gap.max(axis=(1, 2))).astype(np.float32)
