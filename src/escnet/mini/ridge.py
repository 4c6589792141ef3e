"""Ridge regression.

Sizes: M examples, V and W widths of what is mapped and of what it is mapped to.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def ridge_weight(
    source: Float[Tensor, "M V"], wanted: Float[Tensor, "M W"], ridge: float
) -> Float[Tensor, "W V"]:
    """The linear map, without a bias, that comes nearest to what is wanted.

    Args:
        source: What is mapped.
        wanted: What each of them is to become.
        ridge: How much a large weight costs.
    """
    inner = source.T @ source + ridge * torch.eye(source.shape[1]).to(source)
    return torch.linalg.solve(inner, source.T @ wanted).T
