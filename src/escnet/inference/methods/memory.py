"""How many class names fit into a memory budget at once.

Everything that a network does for each class is done in chunks (`model/chunks.py`); the sizes of
the tensors that live at the same time follow from its settings alone, which know them.
"""

from typing import Protocol, runtime_checkable

DEFAULT_BUDGET = 256 * 2**20  # bytes of working memory for the class chunks of one picture
# Larger chunks fall out of the processor's caches and gain nothing (benchmarks/results).
_MOST_CLASSES = 32


@runtime_checkable
class HasCost(Protocol):
    """Settings of a network that know what a class name costs."""

    @property
    def bytes_per_class(self) -> int:
        """Working memory that one class name of one picture needs, in bytes."""


def class_chunk(config: HasCost, *, budget: int = DEFAULT_BUDGET, num_pictures: int = 1) -> int:
    """The number of class names to work on at a time; at least 1.

    Args:
        config: The network's settings.
        budget: Bytes of working memory, beyond the weights and what is kept for every class.
        num_pictures: Pictures in the batch.
    """
    fitting = budget // (config.bytes_per_class * num_pictures)
    return max(1, min(_MOST_CLASSES, fitting))
