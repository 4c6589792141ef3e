"""What a method says of a view, in one step."""

from collections.abc import Sequence

import numpy as np

from escnet.inference.label_maps.published_resize import View
from escnet.inference.methods.method import Method, ViewLogits


def answers(
    method: Method,
    views: Sequence[View],
    text_embedding: np.ndarray,
    owner: Sequence[int] | None = None,
) -> list[ViewLogits]:
    """The logits of each view."""
    return method.logits(method.encode_views(views), text_embedding, owner)
