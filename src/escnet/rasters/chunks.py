"""The work on a raster in chunks, each in a file of its own until the whole is done.

A chunk is a part of the raster as wide as a few windows. The file of a finished chunk appears whole
or not at all, so a killed run goes on with the next one. They lie in STEM.labels.parts beside the
result and are deleted with it.

Sizes: H x W the chunk, N names.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Int, UInt

from escnet.errors import OutputError
from escnet.files import replace_file
from escnet.inference.jobs.parts import PartsFolder

CHUNK_HW = 512, 4096  # whole blocks of the result


class Chunk(NamedTuple):
    """Rows and columns of a raster."""

    rows: slice
    columns: slice


class ChunkResult(NamedTuple):
    """What is kept of a chunk.

    Attributes:
        label_map: Indices of names, or void.
        counts: Pixels of each name.
        confidence: The sum of their confidences.
        num_valid: Pixels that have data.
    """

    label_map: UInt[np.ndarray, "H W"]
    counts: Int[np.ndarray, " N"]
    confidence: Float[np.ndarray, " N"]
    num_valid: int


def chunks_of(size_hw: tuple[int, int]) -> list[Chunk]:
    """All chunks of a raster, strip by strip, each from the top downwards."""
    height, width = size_hw
    tall, wide = CHUNK_HW
    return [
        Chunk(slice(top, min(top + tall, height)), slice(left, min(left + wide, width)))
        for left in range(0, width, wide)
        for top in range(0, height, tall)
    ]


class ChunkFolder(PartsFolder):
    """Where finished chunks lie."""

    def read(self, chunk: Chunk) -> ChunkResult | None:
        """A finished chunk; None if it is not here, or damaged."""
        try:
            with np.load(self._path(chunk), allow_pickle=False) as held:
                return ChunkResult(
                    held["labels"], held["counts"], held["confidence"], int(held["num_valid"])
                )
        except (OSError, ValueError, LookupError, EOFError, BadZipFile):
            return None

    def write(self, chunk: Chunk, finished: ChunkResult) -> None:
        """Keep a chunk.

        Raises:
            OutputError: If it cannot be written.
        """
        buffer = BytesIO()
        np.savez_compressed(
            buffer,
            labels=finished.label_map,
            counts=finished.counts,
            confidence=finished.confidence,
            num_valid=finished.num_valid,
        )
        replace_file(self._path(chunk), buffer.getvalue())

    def _path(self, chunk: Chunk) -> Path:
        return self.folder / f"{chunk.rows.start}-{chunk.columns.start}.npz"


def chunk_results(
    folder: ChunkFolder, size_hw: tuple[int, int]
) -> Iterator[tuple[Chunk, ChunkResult]]:
    """Every chunk of a raster.

    Raises:
        OutputError: If one is not there.
    """
    for chunk in chunks_of(size_hw):
        finished = folder.read(chunk)
        if finished is None:
            raise OutputError(
                f"{folder.folder} lacks a part that was there (row {chunk.rows.start}, column "
                f"{chunk.columns.start}): run the command again with --resume"
            )
        yield chunk, finished
