"""What the pixels of a training example say: which of a step's class names each of them is.

Sizes: h x w pixels of the label map.
"""

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

NONE_OF_THEM = -1  # none of the step's names: a negative for all of them
UNKNOWN = -2  # nobody looked: no loss


def names_in(target: Int[Tensor, "*B h w"]) -> Int[np.ndarray, " _"]:
    """The names that a target shows, in order.

    Args:
        target: For each pixel its name, NONE_OF_THEM, or UNKNOWN.
    """
    shown = target.unique().numpy()
    return shown[shown >= 0]


def some_names(
    shown: Collection[int] | Int[np.ndarray, " _"],
    annotated: Collection[int] | Int[np.ndarray, " _"],
    most_names: int,
    random: np.random.Generator,
) -> Int[np.ndarray, " N"]:
    """The names that a picture is trained on: those it shows, and others as negatives, in order.

    Args:
        shown: Names of which it has pixels.
        annotated: Names that its source annotates.
        most_names: How many in all; some of those shown if it shows more.
        random: Chooses.
    """
    shown_row = np.array(sorted(shown), np.int64)
    if len(shown_row) > most_names:
        shown_row = random.choice(shown_row, most_names, replace=False)
    others = np.setdiff1d(np.array(sorted(annotated), np.int64), shown_row)
    num_others = min(len(others), most_names - len(shown_row))
    return np.sort(np.concatenate([shown_row, random.choice(others, num_others, replace=False)]))


def target_of_names(
    target: Int[Tensor, "*B h w"], names: Int[np.ndarray, " m"], num_names: int
) -> Int[Tensor, "*B h w"]:
    """Each pixel's position among some of the names; a pixel of another name is none of them.

    Args:
        target: For each pixel its name, NONE_OF_THEM, or UNKNOWN.
        names: Those that are kept.
        num_names: How many names there are in all.
    """
    position = torch.full((num_names,), NONE_OF_THEM)
    position[torch.from_numpy(names)] = torch.arange(len(names))
    return torch.where(target >= 0, position[target.clamp(min=0)], target)
