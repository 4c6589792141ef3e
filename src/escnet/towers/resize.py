"""Feature maps brought to another grid."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resized(x: Float[Tensor, "B C _ _"], size_hw: tuple[int, int]) -> Float[Tensor, "B C h w"]:
    """The map on a grid of that size, bilinearly; itself where it lies there already."""
    if tuple(x.shape[-2:]) == size_hw:
        return x
    return F.interpolate(x, size=size_hw, mode="bilinear", align_corners=False)
