"""The point of the joint space that a few masks mean.

A network compares each patch with a text by the cosine of their embeddings, so what it is to know
of a label is one direction. Here it is the one whose cosine is high on patches inside of the masks
and low outside, found in closed form by a ridge regression that holds it near the text's own
direction. docs/lab has what was compared.

Sizes: P patches, D joint space.
"""

import numpy as np
from jaxtyping import Float, Float32

from escnet.inference.names.unit_vectors import unit_vectors

_INSIDE, _OUTSIDE = 0.5, 0.0  # cosines: to ESC-Net, logits of about 3 and -3
_TEXT = 0.05  # how much the text counts; all patches inside together count 1, all outside 1


def taught_vector(
    patch: Float[np.ndarray, "P D"],
    inside: Float[np.ndarray, " P"],
    outside: Float[np.ndarray, " P"],
    text: Float[np.ndarray, " D"],
) -> Float32[np.ndarray, " D"]:
    """The unit vector that tells patches inside from those outside.

    A patch on the border counts on both sides by its shares.

    Args:
        patch: Patch embeddings, of any length.
        inside: For each patch the share of its pixels inside of the masks.
        outside: The same outside; what is neither was labelled by nobody.
        text: The text embedding that the label has so far, of any length.
    """
    unit, own = unit_vectors(patch.astype(np.float64)), unit_vectors(text.astype(np.float64))
    more = inside / max(inside.sum(), np.finfo(float).tiny)
    less = outside / max(outside.sum(), np.finfo(float).tiny)
    pull = unit.T @ (more * _INSIDE + less * _OUTSIDE) + _TEXT * own
    spread = (unit.T * (more + less)) @ unit + _TEXT * np.eye(unit.shape[1])
    return unit_vectors(np.linalg.solve(spread, pull)).astype(np.float32)
