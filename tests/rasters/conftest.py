"""A small picture in patches of three colours."""

import numpy as np
import pytest


@pytest.fixture
def field() -> np.ndarray:
    """Patches of noisy red, green and blue, 90 high, 130 wide."""
    rng = np.random.default_rng(0)
    patches = np.eye(3)[rng.integers(0, 3, (9, 13))] * 150
    noisy = patches.repeat(10, axis=0).repeat(10, axis=1) + rng.integers(0, 100, (90, 130, 3))
    return noisy.astype(np.uint8)
