"""Losses on label maps of which each source annotates only some classes.

Sizes: n class names of a step, h x w pixels of the label map.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

NONE_OF_THEM = -1  # none of the step's names: a negative for all of them
UNKNOWN = -2  # nobody looked: no loss


def partial_label_loss(
    logits: Float[Tensor, "n h w"],
    target: Int[Tensor, "h w"],
    *,
    binary_weight: float = 1.0,
    cross_weight: float = 1.0,
    balance: float = 0.0,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of every name, plus cross-entropy among the names.

    The first is CAT-Seg's (docs/paper-notes.md, note 18) and makes a confidence that can say "none
    of them"; the second makes the names compete, as the argmax will. Each is a mean over the
    pixels that have it; a map without such a pixel adds 0.

    Args:
        logits: One map for each name of the step.
        target: The index of the name, NONE_OF_THEM, or UNKNOWN.
        binary_weight: Factor of the binary cross-entropy.
        cross_weight: Factor of the cross-entropy.
        balance: In the cross-entropy a pixel weighs its name's number of pixels in this map to the
            power of minus this: 0 counts pixels, 1 counts names.
    """
    num_names = len(logits)
    known = target != UNKNOWN
    labelled = target >= 0
    index = target.clamp(min=0)
    truth = F.one_hot(index, num_names).permute(2, 0, 1).to(logits.dtype) * labelled  # (n, h, w)
    binary = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(dim=0)
    cross = F.cross_entropy(logits[None], index[None], reduction="none")[0]
    total = binary_weight * _mean_where(binary, known)
    if balance:
        count = torch.bincount(index[labelled], minlength=num_names).clamp(min=1)
        weight = count[index].to(cross.dtype) ** -balance
        weight = weight / _mean_where(weight, labelled).clamp(min=1e-12)
        cross = cross * weight
    return total + cross_weight * _mean_where(cross, labelled)


def _mean_where(value: Float[Tensor, "h w"], where: Tensor) -> Float[Tensor, ""]:
    zero = torch.zeros((), dtype=value.dtype, device=value.device)
    return torch.where(where, value, zero).sum() / where.sum().clamp(min=1)
