"""Losses on label maps of which each source annotates only some classes.

Sizes: n class names of a step, h x w pixels of the label map.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from escnet.training.targets import UNKNOWN


def partial_label_loss(
    logits: Float[Tensor, "n h w"],
    target: Int[Tensor, "h w"],
    *,
    binary_weight: float = 1.0,
    cross_weight: float = 1.0,
    overlap_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of every name, plus cross-entropy among the names, plus overlap.

    The first is CAT-Seg's (docs/paper-notes.md, note 18) and makes a confidence that can say "none
    of them"; the second makes the names compete, as the argmax will. Each is a mean over the
    pixels that have it; a map without such a pixel adds 0. The third counts every name that the
    map shows alike, as the mean IoU will, however few its pixels are.

    Args:
        logits: One map for each name of the step.
        target: The index of the name, NONE_OF_THEM, or UNKNOWN.
        binary_weight: Factor of the binary cross-entropy.
        cross_weight: Factor of the cross-entropy.
        overlap_weight: Factor of the overlap loss, one minus the mean IoU of the probabilities.
    """
    num_names = len(logits)
    known = target != UNKNOWN
    labelled = target >= 0
    index = target.clamp(min=0)
    truth = F.one_hot(index, num_names).permute(2, 0, 1).to(logits.dtype) * labelled  # (n, h, w)
    binary = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(dim=0)
    cross = F.cross_entropy(logits[None], index[None], reduction="none")[0]
    total = binary_weight * _mean_where(binary, known)
    total = total + cross_weight * _mean_where(cross, labelled)
    return total + overlap_weight * _overlap_loss(logits, truth) if overlap_weight else total


def _overlap_loss(
    logits: Float[Tensor, "n h w"], truth: Float[Tensor, "n h w"]
) -> Float[Tensor, ""]:
    """One minus the IoU of probability and truth where some name is, mean over the shown names."""
    probability = logits.softmax(dim=0) * truth.sum(dim=0)
    both = (probability * truth).sum(dim=(1, 2))  # (n,)
    either = (probability + truth).sum(dim=(1, 2)) - both
    shown = truth.sum(dim=(1, 2)) > 0
    lost = 1 - both / either.clamp(min=1)
    return torch.where(shown, lost, torch.zeros_like(lost)).sum() / shown.sum().clamp(min=1)


def _mean_where(value: Float[Tensor, "h w"], where: Tensor) -> Float[Tensor, ""]:
    zero = torch.zeros((), dtype=value.dtype, device=value.device)
    return torch.where(where, value, zero).sum() / where.sum().clamp(min=1)
