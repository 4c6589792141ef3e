"""The paper's recipe's loss on a batch of pictures, of which each knows only some of the names.

Sizes: B pictures, N class names of the step, h x w places of the logits, H x W pixels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from escnet.towers.resize import resized
from escnet.training.targets import UNKNOWN


def dense_loss(
    logits: Float[Tensor, "B N h w"],
    target: Int[Tensor, "B H W"],
    is_known: Bool[Tensor, "B N"],
    *,
    kind: Literal["bce", "ce"],
    unlabelled: Literal["negative", "ignored"],
) -> Float[Tensor, " B"]:
    """The loss of each picture, at the resolution of its label map.

    "bce" is CAT-Seg's: the mean over pixels and names of the binary cross-entropy. "ce" is the
    mean over labelled pixels of the cross-entropy among the names. Names that nobody looked for in
    a picture take no part.

    Args:
        logits: One map for each name.
        target: A name's position among the step's, NONE_OF_THEM, or UNKNOWN.
        is_known: Whether the picture's source annotates the name.
        kind: Which loss.
        unlabelled: Whether a pixel without a label counts as "negative" for every name, which is
            CAT-Seg's way, or is "ignored".
    """
    logits = resized(logits.float(), (target.shape[1], target.shape[2]))
    if kind == "ce":
        return _cross(logits, target, is_known)
    counts = (target != UNKNOWN) | (unlabelled == "negative")  # (B, H, W)
    index = target.clamp(min=0)
    # softplus(x) - x * truth, the truth being 1 at one name at most: no map of zeros is needed
    own = logits.gather(1, index[:, None])[:, 0] * (target >= 0)  # (B, H, W)
    # A sum and no matrix product, which autocast and TF32 would round: the loss could be negative.
    known = logits.masked_fill(~is_known[:, :, None, None], float("-inf"))
    negative = F.softplus(known).sum(dim=1)  # (B, H, W)
    total = ((negative - own) * counts).sum(dim=(1, 2))  # (B,)
    num_names = is_known.sum(dim=1).clamp(min=1)
    return total / (counts.sum(dim=(1, 2)).clamp(min=1) * num_names)


def _cross(
    logits: Float[Tensor, "B N H W"], target: Int[Tensor, "B H W"], is_known: Bool[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    is_labelled = target >= 0
    logits = logits.masked_fill(~is_known[:, :, None, None], float("-inf"))
    cross = F.cross_entropy(logits, target.clamp(min=0), reduction="none")  # (B, H, W)
    cross = torch.where(is_labelled, cross, torch.zeros_like(cross))
    return cross.sum(dim=(1, 2)) / is_labelled.sum(dim=(1, 2)).clamp(min=1)
