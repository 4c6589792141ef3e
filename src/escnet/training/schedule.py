"""How the learning rate goes up and down, and how the mean of the weights follows them."""

import math


def cosine_share(place: float, warmup: float) -> float:
    """The share of the peak rate: up in a line, down in half a cosine.

    Args:
        place: In the schedule, from 0 to 1.
        warmup: Where the peak is.
    """
    if place < warmup:
        return (place + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (place - warmup) / (1 - warmup)))


def average_decay(decay: float, phase_step: int) -> float:
    """The decay of the running mean, smaller at first: the mean must not remember the start long.

    Args:
        decay: In the long run.
        phase_step: Steps done in this phase.
    """
    return min(decay, (1 + phase_step) / (10 + phase_step))
