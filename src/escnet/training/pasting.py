"""Things of one view pasted into another, so that they are seen in more company.

Copy-paste augmentation (Ghiasi et al., CVPR 2021) with label maps instead of instances: all pixels
of a name move together.

Sizes: s side of a view's picture, c that of its label map.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int

from escnet.training.random_view import View

_MOST_NAMES = 2
_LARGEST_SHARE = 0.3  # of the view; more would hide too much of the other


def with_things_of(
    giver: View, taker: View, names: Int[np.ndarray, " n"], random: np.random.Generator
) -> View:
    """A view with one or two names' pixels of another upon it.

    Args:
        giver: Whose pixels are taken; none if it shows no name that covers little enough.
        taker: What they are put upon.
        names: Labels that may be taken.
        random: Chooses among them.
    """
    labels, count = np.unique(giver.labels, return_counts=True)
    is_small = count <= _LARGEST_SHARE * giver.labels.size
    possible = np.intersect1d(labels[is_small], names)
    if not len(possible):
        return taker
    number = min(len(possible), int(random.integers(1, _MOST_NAMES + 1)))
    taken = np.isin(giver.labels, random.choice(possible, number, replace=False))
    fine = F.interpolate(torch.from_numpy(taken)[None, None].float(), taker.image.shape[1:])
    return View(
        torch.where(fine[0] > 0, giver.image, taker.image),
        np.where(taken, giver.labels, taker.labels),
    )
