"""Results in groups: the labels of a label map as groups of them, at any level.

Sizes: K ranks, H x W pixels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt


class GroupShare(NamedTuple):
    """A group in a result.

    Attributes:
        name: What it is called.
        level: 1 for the outermost groups, 2 for those within them, and so on.
        labels: The indices of its labels.
    """

    name: str
    level: int
    labels: tuple[int, ...]


def groups_in(paths: Sequence[tuple[str, ...]]) -> list[GroupShare]:
    """All groups, those of the first level first.

    Args:
        paths: From the outermost group to the label, for each label.
    """
    members: dict[tuple[int, str], list[int]] = {}
    for index, path in enumerate(paths):
        for level, group in enumerate(path[:-1], 1):
            members.setdefault((level, group), []).append(index)
    ordered = sorted(members.items(), key=lambda item: item[0][0])
    return [GroupShare(name, level, tuple(own)) for (level, name), own in ordered]


def summarise_groups(
    paths: Sequence[tuple[str, ...]],
    counts: Sequence[int],
    means: Sequence[float],
    num_pixels: int,
) -> list[dict[str, Any]]:
    """Plain values for JSON: each group's labels, share and mean confidence.

    Args:
        paths: From the outermost group to the label, for each label.
        counts: Pixels of each label.
        means: Mean confidence of each label; NaN for one without pixels.
        num_pixels: Of the whole picture.
    """
    groups = []
    for group in groups_in(paths):
        own = [label for label in group.labels if counts[label]]
        count = sum(int(counts[label]) for label in own)
        mean = sum(float(means[label]) * int(counts[label]) for label in own) / max(count, 1)
        groups.append(
            {
                "name": group.name,
                "level": group.level,
                "names": [paths[label][-1] for label in group.labels],
                "share": round(count / max(num_pixels, 1), 6),
                "mean_confidence": round(mean, 4) if count else None,
            }
        )
    return groups


def regrouped(
    label_map: UInt[np.ndarray, "*K H W"],
    index: Sequence[int],
    dtype: type[np.unsignedinteger[Any]],
) -> UInt[np.ndarray, "*K H W"]:
    """A label map whose labels are those of a level; what was void stays so.

    Args:
        label_map: Indices of labels, or its type's largest value.
        index: The new index of each label.
        dtype: Of the new map.
    """
    table = np.full(np.iinfo(label_map.dtype).max + 1, np.iinfo(dtype).max, dtype)
    table[: len(index)] = index
    return table[label_map]


def merged_highest(
    values: Float[np.ndarray, "N *size"], index: Sequence[int]
) -> Float[np.ndarray, "M *size"]:
    """A group has the highest of its labels' values.

    Args:
        values: Of each label, of the first ones if the last has none; NaN where it is not known.
        index: The group of each label.
    """
    index = index[: len(values)]
    merged = np.full((max(index) + 1, *values.shape[1:]), np.nan, values.dtype)
    for group, own in zip(index, values, strict=True):
        merged[group] = np.fmax(merged[group], own)
    return merged


def merged_ranks(
    names: UInt[np.ndarray, "K H W"], probabilities: Float[np.ndarray, "K H W"]
) -> tuple[UInt[np.ndarray, "K H W"], Float[np.ndarray, "K H W"]]:
    """The best names of each pixel, each once, at its best rank; the last ranks may be nobody's."""
    nobody = np.iinfo(names.dtype).max
    names, probabilities = names.copy(), probabilities.copy()
    for rank in range(1, len(names)):
        is_repeated = (names[rank] == names[:rank]).any(axis=0)
        names[rank][is_repeated] = nobody
        probabilities[rank][is_repeated] = 0
    order = np.argsort(names == nobody, axis=0, kind="stable")
    return np.take_along_axis(names, order, 0), np.take_along_axis(probabilities, order, 0)
