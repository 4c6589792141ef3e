"""Chance that follows from a seed, a purpose and a number, and from nothing that ran before.

So a run can be taken up at any step, and shared out to any number of processes.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What chance decides; each purpose has a series of its own."""

    ORDER = 0  # which source comes when
    TURN = 1  # in which order the pictures of a source come
    VIEW = 2  # what is seen of a picture
    NAMES = 3  # which class names compete, and by which of their texts
    CAPTION = 4  # the same of a picture with texts
    HARDER = 6  # what is pasted into a part, and how its logits are disturbed


def chance(seed: int, purpose: Purpose, *numbers: int) -> np.random.Generator:
    """A generator.

    Args:
        seed: Of the stage.
        purpose: What it decides.
        numbers: Of the picture, the step, or whatever it decides about.
    """
    return np.random.default_rng([seed, purpose, *numbers])
