"""Masks as run lengths: COCO's, by pycocotools, and those of Label Studio's brush."""

from collections.abc import Sequence
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


def brush_mask(packed: Sequence[int], size_hw: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """The mask in a stream of Label Studio's brush: where the opacity is more than half.

    Args:
        packed: The stream, as bytes; of whatever program wrote it.
        size_hw: The picture's size.

    Raises:
        ValueError: If it is no such stream, or of another size.
    """
    stream = _BitStream(packed)
    total = stream.read(32)
    if total != _CHANNELS * size_hw[0] * size_hw[1]:
        raise ValueError(f"run lengths of {total} values for {size_hw[0]} x {size_hw[1]} pixels")
    word = stream.read(5) + 1
    sizes = [stream.read(4) + 1 for _ in range(4)]
    values = np.zeros(total, np.uint8)
    place = 0
    while place < total:
        is_run = stream.read(1)
        end = place + 1 + stream.read(sizes[stream.read(2)])
        if end > total:
            raise ValueError("run lengths that go on after the last pixel")
        if is_run:
            values[place:end] = min(stream.read(word), 255)
        else:
            values[place:end] = stream.read_many(end - place, word)
        place = end
    return values.reshape(*size_hw, _CHANNELS)[..., -1] >= 128


class _BitStream:
    """Bytes that are read as numbers of some bits, the highest first."""

    def __init__(self, packed: Sequence[int]) -> None:
        self._bits = np.unpackbits(np.asarray(packed, np.uint8))
        self._text = self._bits.tobytes().translate(bytes([48, 49]) + bytes(254)).decode("ascii")
        self._place = 0

    def read(self, width: int) -> int:
        end = self._place + width
        if end > len(self._text):
            raise ValueError("run lengths that end before the last pixel")
        number = int(self._text[self._place : end], 2)
        self._place = end
        return number

    def read_many(self, count: int, width: int) -> UInt8[np.ndarray, " count"]:
        end = self._place + count * width
        if end > len(self._text):
            raise ValueError("run lengths that end before the last pixel")
        bits = self._bits[self._place : end].reshape(count, width)
        self._place = end
        return (bits @ (1 << np.arange(width - 1, -1, -1))).clip(max=255).astype(np.uint8)


def _bits(numbers: np.ndarray, width: int) -> UInt8[np.ndarray, " bits"]:
    """The numbers' binary digits, the highest first."""
    places = np.arange(width - 1, -1, -1)
    return (numbers[:, None] >> places & 1).astype(np.uint8).ravel()
