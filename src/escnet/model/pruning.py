"""Which class names a picture is segmented with when there are very many.

CAT-Seg's rule, which ESC-Net inherits (docs/paper-notes.md, note 21): the names whose highest
correlation is among the largest are kept, the others cannot win. It is not exact, as the names left
out no longer take part in what the classes tell each other.

Sizes: B pictures, N names, M of them kept.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def likely_names(peak: Float[Tensor, "B N"], most: int) -> Int[Tensor, "B M"]:
    """For each picture the names to keep, in their own order.

    Args:
        peak: The highest correlation of each name in each picture.
        most: At most this many are kept; 0 keeps all.
    """
    B, N = peak.shape
    if most == 0 or most >= N:
        return torch.arange(N, device=peak.device).expand(B, -1)
    return peak.topk(most, dim=1).indices.sort(dim=1).values
