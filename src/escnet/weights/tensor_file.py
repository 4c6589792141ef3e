"""Tensors on disk: safetensors files and PyTorch's pickles, read without running any code.

Everything that goes wrong with such a file ends in one `WeightsError`, and so does a file whose
tensors are not those that were expected.
"""

import hashlib
import math
import pickle
import struct
import warnings
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from escnet.errors import WeightsError, first_line
from escnet.files import display_path
from escnet.small_file import regular_file
from escnet.weights.origin import file_sha256
from escnet.weights.tensor_index import TENSOR_FILES, pieces_of

_NUM_SHOWN = 3  # of each kind of problem; the rest is counted
_SMALLEST_HEADER = 8  # bytes; a safetensors file begins with the length of its header

_WHOLE_NUMBERS = ("num_batches_tracked", "position_ids")  # the ends of their names

# What is read: real numbers that every machine computes with.
_READ_DTYPES = (
    torch.float32, torch.float16, torch.bfloat16, torch.float64,
    torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool,
)  # fmt: skip

# What `torch.load` raises for bytes that it cannot or will not read; it has no error of its own.
_UNREADABLE_PICKLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a PyTorch file that holds one flat dictionary.

    The content decides, not the suffix. Pickles are read with `weights_only=True`: a file that
    asks for anything but tensors and plain containers is refused, and none of its code runs. A
    dictionary inside another under "model" or "state_dict", as training scripts leave it, is taken
    out. The tensors lie in the file until they are used: copy those that must outlive it.

    Raises:
        WeightsError: If the file is missing, damaged, or not a dictionary of plain tensors.
    """
    tensors = _read_pickle(path) if _is_pickle(path) else _read_safetensors(path)
    for name, tensor in tensors.items():
        if oddity := _oddity_of(tensor):
            raise WeightsError(
                f"{path} holds {name} {oddity}, but only plain tensors of real numbers are read: "
                "download it again, or convert it to float32"
            )
    return tensors


def tensor_files_in(folder: Path, names: Sequence[str] = TENSOR_FILES) -> list[Path]:
    """The files in a folder, as the hub lays it out, that hold the tensors: one, or several.

    Args:
        folder: On this machine.
        names: What the file may be called, the preferred name first.

    Raises:
        WeightsError: If there are none, or not all that the index names.
    """
    for name in names:
        if (folder / name).is_file():
            return [folder / name]
    for name in names:
        index = folder / f"{name}.index.json"
        if index.is_file():
            pieces = pieces_of(index)
            if missing := [piece for piece in pieces if not (folder / piece).is_file()]:
                raise WeightsError(
                    f"folder {folder} lacks {len(missing)} of {len(pieces)} pieces "
                    f"({_some(missing)}) that {index.name} names: copy them as well"
                )
            return [folder / piece for piece in pieces]
    raise WeightsError(
        f"folder {folder} has no {' or '.join(names)}, in one piece or with an index: "
        "put one there, or give another folder"
    )


def read_all_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """The tensors of several files together.

    Raises:
        WeightsError: As `read_tensors`, or if two of them hold the same tensor.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        more = read_tensors(file)
        if twice := sorted(more.keys() & tensors.keys()):
            raise WeightsError(
                f"{file} holds {twice[0]}, which another piece holds, too: copy the folder again"
            )
        tensors.update(more)
    return tensors


def tensors_sha256(files: Sequence[Path]) -> str:
    """The SHA-256 of a file, or of those of several in their order.

    Raises:
        WeightsError: If one cannot be read.
    """
    digests = [file_sha256(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The metadata of a .safetensors file and the shape of each tensor, without reading any.

    The length of the file is checked against the header.

    Raises:
        WeightsError: If the file is missing, truncated, or not in this format.
    """
    _require_bytes(path)
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return dict(file.metadata() or {}), shapes
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error


def load_pickle(path: Path, *, mmap: bool = False) -> Any:
    """What a PyTorch file holds: tensors and plain containers; no code of it runs.

    Errors are those of `torch.load`, without the warnings that it prints before some.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def check_shapes(
    source: str,
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    *,
    cure: str,
) -> None:
    """Check that the tensors found are exactly the expected ones.

    Raises:
        WeightsError: Naming what is missing, what does not belong, and what has another shape.
    """
    refuse(
        source,
        missing=expected.keys() - found.keys(),
        unexpected=found.keys() - expected.keys(),
        misshaped={
            name: (found[name], shape)
            for name, shape in expected.items()
            if name in found and found[name] != shape
        },
        num_expected=len(expected),
        cure=cure,
    )


def check_values(source: str, tensors: Mapping[str, Tensor]) -> None:
    """Check that every weight is of a floating-point type, and every value of it finite.

    Raises:
        WeightsError: Naming the tensors that are whole numbers, or those with an infinity or a
            value that is no number, as a training that went astray leaves them.
    """
    whole = [
        f"{name} as {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in tensors.items()
        if not tensor.is_floating_point() and not name.endswith(_WHOLE_NUMBERS)
    ]
    if whole:
        raise WeightsError(
            f"{source} stores {len(whole)} of {len(tensors)} tensors as whole numbers "
            f"({_some(whole)}), where float32, float16 or bfloat16 belong: copy it again, or "
            "convert it"
        )
    spoilt = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if spoilt:
        raise WeightsError(
            f"{source} has values that are infinite or no number in {len(spoilt)} of "
            f"{len(tensors)} tensors ({_some(spoilt)}): copy it again, or take an earlier one"
        )


def refuse(
    source: str,
    *,
    missing: Collection[str],
    unexpected: Collection[str],
    misshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    num_expected: int,
    cure: str,
) -> None:
    """Raise one error that lists every kind of problem; do nothing where there is none.

    Args:
        source: How the error names the file.
        missing: Names expected but not found.
        unexpected: Names found but not expected.
        misshaped: For each such name, the shape found and the shape expected.
        num_expected: How many tensors were expected.
        cure: What to do about it; the end of the line.

    Raises:
        WeightsError: If there is any problem.
    """
    problems = []
    if missing:
        problems.append(f"lacks {len(missing)} of {num_expected} tensors ({_some(missing)})")
    if unexpected:
        problems.append(f"holds {len(unexpected)} that do not belong ({_some(unexpected)})")
    if misshaped:
        shapes = [
            f"{name} is {list(found)}, not {list(expected)}"
            for name, (found, expected) in misshaped.items()
        ]
        problems.append(f"has {len(misshaped)} of another shape ({_some(shapes)})")
    if problems:
        raise WeightsError(f"{source} {', '.join(problems)}: {cure}")


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # One pass without a copy; where a value is no number, neither extreme is one.
    extremes = tensor.aminmax()
    return math.isfinite(extremes.min) and math.isfinite(extremes.max)


def _some(items: Collection[str]) -> str:
    shown = ", ".join(sorted(items)[:_NUM_SHOWN])
    rest = len(items) - _NUM_SHOWN
    return f"{shown}, and {rest} more" if rest > 0 else shown


def _is_pickle(path: Path) -> bool:
    _require_bytes(path)
    with path.open("rb") as file:
        start = file.read(2)
    return start == b"PK" or start[:1] == b"\x80"  # a zip archive, or the older bare pickle


def _require_bytes(path: Path) -> None:
    """Check that there is a file, of at least the length that any such file has."""
    with regular_file(path, f"weights file {display_path(path)}", WeightsError) as file:
        start = file.read(_SMALLEST_HEADER)
    if len(start) < _SMALLEST_HEADER:
        raise _damaged(path, f"{len(start)} bytes long")


def _oddity_of(tensor: Tensor) -> str | None:
    """What makes a tensor one that cannot be computed with as it is; None for a plain one."""
    if tensor.is_nested:
        return "as a nested tensor"
    if tensor.layout != torch.strided:
        return f"in the layout {tensor.layout}"
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device}"  # meta, which has no values
    if tensor.dtype not in _READ_DTYPES:
        return f"as {tensor.dtype}"
    num_bytes = tensor.numel() * tensor.element_size()
    if num_bytes > (stored := tensor.untyped_storage().nbytes()):
        return f"with {num_bytes} bytes, of which {stored} are stored"
    return None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # Mapping leaves tensors that nobody uses on disk; only the newer archives can be mapped.
        tensors = load_pickle(path, mmap=zipfile.is_zipfile(path))
    except _UNREADABLE_PICKLE as error:
        raise WeightsError(
            f"{path} is damaged, or asks to run code, which is refused "
            f"({first_line(error)}): download it again, or convert it to .safetensors"
        ) from error
    except OSError as error:
        raise _damaged(path, str(error)) from error
    if isinstance(tensors, dict):
        for wrapper in ("model", "state_dict"):
            tensors = tensors[wrapper] if isinstance(tensors.get(wrapper), dict) else tensors
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise _no_tensors(path, type(tensors).__name__)
    if others := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise _no_tensors(path, f"{others[0]!r}: {type(tensors[others[0]]).__name__}")
    return dict(tensors)


def _no_tensors(path: Path, found: str) -> WeightsError:
    return WeightsError(
        f"{path} holds no flat dictionary of tensors but {found}: give a file of the published form"
    )


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path} is no complete .safetensors file ({reason}): download or copy it again"
    )


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """A hash of some tensors: their names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        values = tensor.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
