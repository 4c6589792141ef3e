import struct
import zlib
from typing import Literal

import numpy as np
import pytest
from published import mat

from escnet.data.mat_file import read_matrix
from escnet.errors import DatasetError

VALUES = [[1, 2, 3], [4, 5, 200]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float64])
def test_a_matrix_is_read_in_each_number_format(
    kind: type, packed: bool, order: Literal["<", ">"]
) -> None:
    content = mat(np.array(VALUES, kind), packed=packed, order=order)
    assert read_matrix(content, "LabelMap", "x").tolist() == VALUES


def test_the_matrix_is_found_among_others_and_by_a_short_name() -> None:
    first, second = mat(np.zeros((1, 1), np.uint16), "a"), mat(np.array(VALUES, np.uint16), "b")
    assert read_matrix(first + second[128:], "b", "x").tolist() == VALUES
    with pytest.raises(DatasetError, match="x holds no matrix LabelMap: fetch the published"):
        read_matrix(first + second[128:], "LabelMap", "x")


def test_names_of_four_letters_lie_in_small_elements() -> None:
    plain = mat(np.array(VALUES, np.uint8), "abcd", packed=False)
    element = struct.pack("<II", 1, 4) + b"abcd" + bytes(4)
    small = struct.pack("<HH", 1, 4) + b"abcd"
    assert element in plain
    head, data = plain[:128], plain[136:].replace(element, small)
    content = head + struct.pack("<II", 14, len(data)) + data
    assert read_matrix(content, "abcd", "x").tolist() == VALUES


GOOD = mat(np.array(VALUES, np.uint16))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no MATLAB file of version 5 to 7"),
        (b"\x89HDF" + bytes(200), "no MATLAB file"),
        (GOOD[:140], "cut off or damaged"),
        (GOOD[:136] + bytes(20) + GOOD[156:], "cut off or damaged"),
        (GOOD[:128], "holds no matrix"),
        (mat(np.zeros((0, 0), np.uint16))[:128] + struct.pack("<II", 15, 0), "cut off or damaged"),
    ],
)
def test_what_is_damaged_ends_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^x .*{message}.*: fetch"):
        read_matrix(content, "LabelMap", "x")


def test_every_cut_ends_in_one_line() -> None:
    plain = mat(np.array(VALUES, np.uint16), packed=False)
    for whole in (GOOD, plain):
        for size in range(len(whole) - 8):  # the last bytes are padding
            with pytest.raises(DatasetError, match=r"^x "):
                read_matrix(whole[:size], "LabelMap", "x")


def test_a_matrix_that_unpacks_to_more_than_a_gibibyte_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("escnet.data.mat_file._MOST_BYTES", 1_000)
    small = zlib.compress(bytes(1_001))
    content = GOOD[:128] + struct.pack("<II", 15, len(small)) + small
    with pytest.raises(DatasetError, match="more than 1 GiB"):
        read_matrix(content, "LabelMap", "x")
