import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from escnet.errors import WeightsError
from escnet.weights.tensor_file import check_shapes, check_values, read_header, read_tensors

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


class Intruder:
    """What a malicious file holds: an object whose unpickling calls a function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.path), 0o777)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_safetensors_are_read_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    save_file(TENSORS, tmp_path / name)
    assert_same(read_tensors(tmp_path / name), TENSORS)


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_pickles_of_both_ages_are_read(tmp_path: Path, is_new: bool, wrapper: str | None) -> None:
    path = tmp_path / "x.pth"
    content = TENSORS if wrapper is None else {wrapper: TENSORS}
    torch.save(content, path, _use_new_zipfile_serialization=is_new)
    assert_same(read_tensors(path), TENSORS)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(
    tmp_path: Path, is_new: bool
) -> None:
    path, trace = tmp_path / "x.pth", tmp_path / "it-ran"
    torch.save({"a": Intruder(trace)}, path, _use_new_zipfile_serialization=is_new)
    with pytest.raises(WeightsError, match="asks to run code, which is refused"):
        read_tensors(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"a": {"b": torch.ones(1)}}, {1: TENSORS}])
def test_a_pickle_of_something_else_says_what_it_holds(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="holds no flat dictionary of tensors but"):
        read_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "bare"])
def test_a_truncated_file_is_one_error(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "x"
    tensors = {"a": torch.ones(100, 100)}
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError) as error:
        read_tensors(path)
    assert "\n" not in str(error.value)


def test_a_safetensors_file_with_bytes_to_spare_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes() + b"more")
    for read in (read_tensors, read_header):
        with pytest.raises(WeightsError, match=r"no complete \.safetensors file"):
            read(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_random_bytes_are_never_more_than_an_error(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "x"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    valid = path.read_bytes()
    num_refused = 0
    for round_number in range(200):
        changed = bytearray(valid)
        for place in torch.randint(2, len(valid), (1 + round_number % 8,), generator=generator):
            changed[place] = int(torch.randint(256, (1,), generator=generator))
        path.write_bytes(bytes(changed))
        try:
            read_tensors(path)
        except WeightsError:
            num_refused += 1
    assert num_refused > 50


@pytest.mark.parametrize("read", [read_tensors, read_header])
def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(WeightsError, match="does not exist: check the path"):
        read(tmp_path / "nothing")
    with pytest.raises(WeightsError, match="is a folder"):
        read(tmp_path)


def test_the_header_tells_shapes_and_metadata(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x", metadata={"storage": "int8"})
    metadata, shapes = read_header(tmp_path / "x")
    assert metadata == {"storage": "int8"}
    assert shapes == {"a.weight": (2, 3), "b": (2,)}


@pytest.mark.filterwarnings("ignore")  # what these tensors are, torch no longer recommends
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(1).expand(10**13), r"with 4\d{13} bytes, of which 4 are stored"),
        (lambda: torch.zeros(2, device="meta"), "on the device meta"),
        (lambda: torch.eye(2).to_sparse(), r"in the layout torch\.sparse_coo"),
        (lambda: torch.zeros(2, dtype=torch.complex64), r"as torch\.complex64"),
        (lambda: torch.zeros(2, dtype=torch.uint64), r"as torch\.uint64"),
        (lambda: torch.zeros(2).to(torch.float8_e4m3fn), r"as torch\.float8_e4m3fn"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), "as torch.qint8"),
        (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "as a nested"),
    ],
)
def test_a_tensor_that_is_none_of_plain_numbers_is_refused_with_its_name(
    tmp_path: Path, make: Callable[[], torch.Tensor], message: str
) -> None:
    torch.save({**TENSORS, "odd": make()}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=f"x.pth holds odd {message}.* convert it to float32"):
        read_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize(("dtype", "shape"), [("F4", [2, 4]), ("C64", [1]), ("F8_E4M3", [4])])
def test_safetensors_of_other_numbers_are_refused(
    tmp_path: Path, dtype: str, shape: list[int]
) -> None:
    num_bytes = 8 if dtype == "C64" else 4
    header = json.dumps({"odd": {"dtype": dtype, "shape": shape, "data_offsets": [0, num_bytes]}})
    content = struct.pack("<Q", len(header)) + header.encode() + bytes(num_bytes)
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"holds odd as torch\."):
        read_tensors(tmp_path / "x.safetensors")


def test_tensors_that_share_what_is_stored_of_them_are_plain(tmp_path: Path) -> None:
    both = torch.arange(6.0).reshape(2, 3)
    tensors = {"all": both, "again": both, "row": both[1], "turned": both.T, "none": both[:0]}
    torch.save(tensors, tmp_path / "x.pth")
    assert_same(read_tensors(tmp_path / "x.pth"), tensors)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_one_value_that_is_not_finite_is_named_with_its_tensor(
    value: float, dtype: torch.dtype
) -> None:
    spoilt = torch.ones(3, 4, dtype=dtype)
    spoilt[1, 2] = value
    with pytest.raises(WeightsError, match=r"x\.pth has .* no number in 1 of 2 tensors \(spoilt\)"):
        check_values("x.pth", {"sound": torch.ones(2), "spoilt": spoilt})
    check_values("x.pth", {"sound": torch.ones(2), "empty": torch.ones(0)})


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool])
def test_whole_numbers_where_weights_belong_are_named_with_their_type(dtype: torch.dtype) -> None:
    tensors = {"sound": torch.ones(2), "norm.num_batches_tracked": torch.tensor(7)}
    check_values("x.pth", tensors)
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(WeightsError, match=rf"1 of 3 tensors as whole .*\(odd as {kind}\)"):
        check_values("x.pth", {**tensors, "odd": torch.ones(2).to(dtype)})


def test_every_kind_of_problem_is_in_one_error() -> None:
    expected = {f"layer.{index}": (2, 2) for index in range(6)}
    found = {"layer.4": (2, 2), "layer.5": (2, 3), "stranger": (1,)}
    with pytest.raises(WeightsError) as error:
        check_shapes("x.pth", found, expected, cure="is it the right file?")
    assert str(error.value) == (
        "x.pth lacks 4 of 6 tensors (layer.0, layer.1, layer.2, and 1 more), "
        "holds 1 that do not belong (stranger), "
        "has 1 of another shape (layer.5 is [2, 3], not [2, 2]): is it the right file?"
    )


def test_exactly_the_expected_tensors_are_no_problem() -> None:
    check_shapes("x.pth", {"a": (2, 2)}, {"a": (2, 2)}, cure="")
