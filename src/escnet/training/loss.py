"""Losses of maps on label maps, where each picture's source annotates only some of the names.

Sizes: B pictures, N class names, H x W pixels of the label map.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from escnet.training.targets import UNKNOWN

Maps = Float[Tensor, "B N H W"]
Labels = Int[Tensor, "B H W"]  # the index of a name, NONE_OF_THEM, or UNKNOWN
Known = Bool[Tensor, "B N"]
Unlabelled = Literal["negative", "ignored"]


def binary_loss(
    logits: Maps,
    target: Labels,
    is_known: Known | None = None,
    *,
    unlabelled: Unlabelled = "ignored",
) -> Float[Tensor, " B"]:
    """CAT-Seg's loss: the mean over pixels and names of the binary cross-entropy.

    Args:
        logits: One map for each name.
        target: What each pixel is.
        is_known: Whether a picture's source annotates the name; others take no part.
        unlabelled: Whether a pixel that nobody looked at counts as "negative" for every name, which
            is CAT-Seg's way, or is "ignored".
    """
    counts = (target != UNKNOWN) | (unlabelled == "negative")  # (B, H, W)
    # softplus(x) - x * truth, the truth being 1 at one name at most: no map of zeros is needed
    own = logits.gather(1, target.clamp(min=0)[:, None])[:, 0] * (target >= 0)  # (B, H, W)
    # A sum and no matrix product, which autocast and TF32 would round: the loss could be negative.
    negative = F.softplus(_of_known(logits, is_known)).sum(dim=1)  # (B, H, W)
    total = ((negative - own) * counts).sum(dim=(1, 2))  # (B,)
    num_names = logits.shape[1] if is_known is None else is_known.sum(dim=1).clamp(min=1)
    return total / (counts.sum(dim=(1, 2)).clamp(min=1) * num_names)


def cross_loss(logits: Maps, target: Labels, is_known: Known | None = None) -> Float[Tensor, " B"]:
    """The mean over labelled pixels of the cross-entropy among the names, as the argmax will be.

    Args:
        logits: One map for each name.
        target: What each pixel is.
        is_known: Whether a picture's source annotates the name; others take no part.
    """
    is_labelled = target >= 0
    maps = _of_known(logits, is_known)
    cross = F.cross_entropy(maps, target.clamp(min=0), reduction="none")  # (B, H, W)
    cross = torch.where(is_labelled, cross, torch.zeros_like(cross))
    return cross.sum(dim=(1, 2)) / is_labelled.sum(dim=(1, 2)).clamp(min=1)


def overlap_loss(logits: Maps, target: Labels) -> Float[Tensor, " B"]:
    """One minus the mean over the names that a picture shows of the IoU of probability and truth.

    It counts every such name alike, as the mean IoU will, however few its pixels are.

    Args:
        logits: One map for each name.
        target: What each pixel is; only pixels of some name count.
    """
    is_labelled = (target >= 0)[:, None]
    truth = F.one_hot(target.clamp(min=0), logits.shape[1]).permute(0, 3, 1, 2) * is_labelled
    probability = logits.softmax(dim=1) * is_labelled
    both = (probability * truth).sum(dim=(2, 3))  # (B, N)
    either = (probability + truth).sum(dim=(2, 3)) - both
    is_shown = truth.sum(dim=(2, 3)) > 0
    loss = (1 - both / either.clamp(min=1)) * is_shown
    return loss.sum(dim=1) / is_shown.sum(dim=1).clamp(min=1)


def _of_known(logits: Maps, is_known: Known | None) -> Maps:
    """The maps, where those that take no part say that their name is nowhere."""
    if is_known is None:
        return logits
    return logits.masked_fill(~is_known[:, :, None, None], float("-inf"))
