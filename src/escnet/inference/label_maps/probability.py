"""Between logits and probabilities."""

import numpy as np
from jaxtyping import Float


def logits_of(probability: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The logits of probabilities."""
    with np.errstate(divide="ignore"):
        return np.log(probability / (1 - probability))


def sigmoid(logit: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The probabilities of logits."""
    with np.errstate(over="ignore"):  # far below 0 the quotient is 0 all the same
        odds = np.exp(-logit)
    odds += 1
    return np.divide(1, odds, out=odds)
