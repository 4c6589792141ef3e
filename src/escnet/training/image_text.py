"""Losses between whole pictures and texts that speak of them.

Sizes: B pictures, M texts, D joint space, h x w patches.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from escnet.model.correlation import correlation_map

Pooling = Literal["mean", "max", "soft"]

_SOFT_SHARPNESS = 20.0  # a patch whose cosine is 0.05 lower weighs a third


def picture_text_score(
    image_embedding: Float[Tensor, "B D h w"],
    text_embedding: Float[Tensor, "M D"],
    pooling: Pooling,
) -> Float[Tensor, "B M"]:
    """How well each picture as a whole matches each text, in [-1, 1]; in single precision.

    Args:
        image_embedding: Patch embeddings in the joint space, of any length.
        text_embedding: Of any length.
        pooling: How the patches' cosines become one number: their "mean", their "max", or "soft",
            their mean weighted by a softmax over the patches, so that what fills a part of the
            picture counts where it is.
    """
    # Under autocast the cosines would be rounded to 3 digits, and their scale makes much of it.
    with torch.autocast(image_embedding.device.type, enabled=False):
        cosine = correlation_map(image_embedding.float(), text_embedding.float())
    cosine = cosine.flatten(2)  # (B, M, h*w)
    if pooling == "mean":
        return cosine.mean(dim=2)
    if pooling == "max":
        return cosine.amax(dim=2)
    return (cosine * (_SOFT_SHARPNESS * cosine).softmax(dim=2)).sum(dim=2)


def contrastive_loss(
    logits: Float[Tensor, "B M"], is_match: Bool[Tensor, "B M"]
) -> Float[Tensor, " B"]:
    """For each picture, minus the logarithm of its own texts' share in a softmax over all texts.

    Each picture's loss depends on no other picture, so a batch may be shared out to processes.

    Args:
        logits: Scaled scores.
        is_match: Which texts are true of the picture; at least one for each.
    """
    own = logits.masked_fill(~is_match, float("-inf"))
    return logits.logsumexp(dim=1) - own.logsumexp(dim=1)


def binary_loss(logits: Float[Tensor, "B M"], is_match: Bool[Tensor, "B M"]) -> Float[Tensor, " B"]:
    """For each picture, the binary cross-entropy of every text; own and others weigh the same."""
    cross = F.binary_cross_entropy_with_logits(logits, is_match.to(logits), reduction="none")
    own = torch.where(is_match, cross, 0.0).sum(dim=1) / is_match.sum(dim=1).clamp(min=1)
    others = torch.where(is_match, 0.0, cross).sum(dim=1) / (~is_match).sum(dim=1).clamp(min=1)
    return (own + others) / 2
