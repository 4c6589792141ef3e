"""MATLAB files of version 5 to 7: the one matrix of numbers that a label map is.

Nothing but real matrices of numbers at the top level is read: no cells, structures, or text.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

from escnet.errors import DatasetError

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_KINDS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_MOST_BYTES = 1 << 30  # of one unpacked matrix: a small file must not fill the memory


def read_matrix(content: bytes, name: str, shown: str) -> Shaped[np.ndarray, "H W"]:
    """The matrix of a name.

    Args:
        content: The file.
        name: The variable.
        shown: What errors call the file.

    Raises:
        DatasetError: If it is no such file, is damaged, or holds no such matrix.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or content[124:126][:: -1 if order == "<" else 1] != b"\x01\x00":
        raise DatasetError(f"{shown} is no MATLAB file of version 5 to 7: fetch it again")
    try:
        for outer in _elements(content[_HEADER_BYTES:], order):
            is_packed = outer[0] == _COMPRESSED
            kind, data = next(_elements(_unpacked(outer[1]), order)) if is_packed else outer
            if kind == _MATRIX and (matrix := _matrix(data, order, name)) is not None:
                return matrix
    except (struct.error, zlib.error, ValueError, KeyError, StopIteration) as error:
        raise DatasetError(f"{shown} is cut off or damaged ({error}): fetch it again") from None
    raise DatasetError(f"{shown} holds no matrix {name}: fetch the published label maps")


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, _MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError("more than 1 GiB when unpacked")
    return content


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # small: the size lies in the upper half, the data in the next four bytes
            kind, size, start, end = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start = place + 8
            # elements are padded to eight bytes, compressed ones are not
            end = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data):
            raise ValueError("an element is longer than the file")
        yield kind, data[start : start + size]
        place = end


def _matrix(data: bytes, order: str, name: str) -> Shaped[np.ndarray, "H W"] | None:
    parts = _elements(data, order)
    next(parts)  # flags
    _, dimensions = next(parts)
    _, stored = next(parts)
    if stored.decode("ascii", "replace") != name:
        return None
    shape = np.frombuffer(dimensions, f"{order}i4")
    kind, values = next(parts)
    matrix = np.frombuffer(values, f"{order}{_KINDS[kind]}")
    return matrix.reshape(int(shape[0]), int(shape[1]), order="F")
