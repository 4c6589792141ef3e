"""Class names in chunks: what bounds the memory of everything that is done for each class."""

from collections.abc import Iterator


def class_chunks(num_classes: int, class_chunk: int | None) -> Iterator[slice]:
    """Slices of at most `class_chunk` class names; a single one where it is None.

    The single slice has no end, so an exported network keeps the number of names free.
    """
    if class_chunk is None:
        yield slice(None)
        return
    for start in range(0, num_classes, class_chunk):
        yield slice(start, start + class_chunk)
