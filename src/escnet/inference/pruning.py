"""Which class names a picture is segmented with when there are very many.

CAT-Seg's rule, which ESC-Net inherits (docs/paper-notes.md, note 21): the names whose highest
correlation is among the largest are kept, the others cannot win. It is not exact, as the names left
out no longer take part in the SAM blocks' merge and in the language attention.

Sizes: N queries, M kept ones, D joint space, h x w patches.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from escnet.model.correlation import correlation_map


def likely_queries(
    image_embedding: Float[Tensor, "1 D h w"],
    text_embedding: Float[Tensor, "N D"],
    most: int,
) -> Int[Tensor, " M"]:
    """Indices of the queries to keep, in their own order.

    Args:
        image_embedding: Of one picture.
        text_embedding: One for each query.
        most: At most this many are kept; 0 keeps all.
    """
    N = len(text_embedding)
    if most == 0 or most >= N:
        return torch.arange(N, device=text_embedding.device)
    peak = correlation_map(image_embedding, text_embedding).amax(dim=(2, 3))[0]  # (N,)
    return peak.topk(most).indices.sort().values
