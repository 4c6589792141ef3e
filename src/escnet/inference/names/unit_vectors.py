"""Embeddings at length 1.

Sizes: D the width of the joint space.
"""

import numpy as np
from jaxtyping import Float

_SHORTEST = 1e-12


def unit_vectors(embedding: Float[np.ndarray, "*_ D"]) -> Float[np.ndarray, "*_ D"]:
    """The embeddings at length 1; one that is all zeros stays so."""
    length = np.linalg.norm(embedding, axis=-1, keepdims=True)
    return embedding / np.maximum(length, _SHORTEST)
