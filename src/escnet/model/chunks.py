"""Class names in chunks: what bounds the memory of everything that is done for each class."""

from collections.abc import Iterator
from typing import SupportsIndex

import torch

# Measured at 24 x 24 patches: 8 at a time stay in a processor's cache, and take two thirds of the
# time of 32.
_CLASSES_IN_CACHE = 8


def class_chunks(num_classes: SupportsIndex, class_chunk: int | None) -> Iterator[slice]:
    """Slices of at most `class_chunk` class names; a single one where it is None.

    The single slice has no end, so an exported network keeps the number of names free.
    """
    if class_chunk is None:
        yield slice(None)
        return
    for start in range(0, num_classes, class_chunk):
        yield slice(start, start + class_chunk)


def chunk_in_cache(class_chunk: int | None, device: torch.device) -> int | None:
    """The chunk for work whose intermediate results are many times the size of what it leaves.

    Where memory is bounded at all, a processor is quicker with chunks that fit into its cache; a
    graphics card is not.
    """
    if class_chunk is None or device.type != "cpu":
        return class_chunk
    return min(class_chunk, _CLASSES_IN_CACHE)
