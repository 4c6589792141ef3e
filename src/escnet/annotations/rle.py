"""Masks as run lengths: COCO's, by pycocotools, and those of Label Studio's brush."""

from typing import TypedDict

import numpy as np
from jaxtyping import Bool, UInt8


class CocoRle(TypedDict):
    """Run lengths along columns, compressed to text as pycocotools does."""

    size: list[int]
    counts: str


def coco_rle(mask: Bool[np.ndarray, "H W"]) -> CocoRle:
    """The mask in COCO's compressed run lengths."""
    from pycocotools.mask import encode  # noqa: PLC0415 -- only where run lengths are asked for

    rle = encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


_CHANNELS = 4  # Label Studio packs the bytes of a red, green, blue, and opacity picture
_SIZES = (3, 4, 8, 16)  # bits that a run's length can have
_LONGEST_RUN = 1 << 16
_RUN_BITS = 1 + 2 + 16 + 8  # is a run, which size, length less 1, value


def brush_rle(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """The mask as Label Studio's brush stores it: a packed stream of bits, as bytes.

    A head tells how many bytes there are, of how many bits, and the four sizes that a run's length
    may have; then come the runs, all with the largest of these sizes.
    """
    pixels = mask.ravel()
    starts = np.flatnonzero(np.diff(pixels, prepend=~pixels[:1]))
    lengths = _CHANNELS * np.diff(starts, append=pixels.size)
    values = pixels[starts].astype(np.int64) * 255
    pieces = -(-lengths // _LONGEST_RUN)  # of each run
    values = np.repeat(values, pieces)
    last = np.cumsum(pieces) - 1
    counts = np.full(len(values), _LONGEST_RUN)
    counts[last] = lengths - (pieces - 1) * _LONGEST_RUN
    size_index = len(_SIZES) - 1
    codes = ((1 << 2 | size_index) << 16 | (counts - 1)) << 8 | values
    head = [_bits(np.array([_CHANNELS * pixels.size]), 32), _bits(np.array([8 - 1]), 5)]
    head += [_bits(np.array([size - 1]), 4) for size in _SIZES]
    stream = np.concatenate([*head, _bits(codes, _RUN_BITS)])
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def _bits(numbers: np.ndarray, width: int) -> UInt8[np.ndarray, " bits"]:
    """The numbers' binary digits, the highest first."""
    places = np.arange(width - 1, -1, -1)
    return (numbers[:, None] >> places & 1).astype(np.uint8).ravel()
