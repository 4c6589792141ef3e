"""A small result with what is awkward: void, a hole, touching corners, a name without pixels."""

import numpy as np
import pytest

from escnet.segmentation import Segmentation

NAMES = ("sky", "sea", "sand", "absent")
LABELS = """
    000011
    022011
    02.2..
    0220.1
"""


def label_map_of(drawing: str) -> np.ndarray:
    """A label map drawn in digits, and dots for void."""
    rows = [list(line) for line in drawing.split()]
    return np.array([[255 if c == "." else int(c) for c in row] for row in rows], dtype=np.uint8)


@pytest.fixture
def result() -> Segmentation:
    label_map = label_map_of(LABELS)
    return Segmentation(
        label_map=label_map,
        confidence=np.where(label_map == 255, 0.25, 0.75).astype(np.float32),
        names=NAMES,
        picture=np.random.default_rng(0).integers(0, 256, (*label_map.shape, 3), np.uint8),
        model="drawn",
        stem="beach",
        source={"file": "beach.png", "bytes": 9, "sha256": "89ab"},
    )
