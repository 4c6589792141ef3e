"""How tensors are stored: as they are, in half precision, or as 8-bit integers.

Only matrices and kernels of some size are stored smaller. Everything else (biases, norms,
running statistics, SAM's Fourier matrix) stays in float32: it is a few per cent of the bytes, and
an error there moves every output.

8-bit storage is symmetric, with one scale for each row of a matrix, that is for each output: a row
of small weights keeps its precision beside a row of large ones. The scale of the tensor NAME is
stored as NAME.scale, in a shape that multiplies it back by broadcasting. Tables that are added to
the activations (position embeddings, which have a first axis of one) have no outputs to scale by,
and are stored in half precision instead.
"""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from escnet.errors import ConfigError, WeightsError

Storage = Literal["float32", "float16", "int8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
INT8_FILE = "model_int8.safetensors"  # in a checkpoint's folder

_SCALE_SUFFIX = ".scale"
_SMALLEST_MATRIX = 4096  # values; below it nothing is gained
_LARGEST_INT8 = 127


def pack(
    tensors: Mapping[str, Tensor], storage: str, *, halve: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The tensors as they are stored; integers and booleans stay as they are.

    Args:
        tensors: By name.
        storage: How large matrices are stored, one of `STORAGES`.
        halve: Patterns of names that int8 storage keeps in half precision, for layers whose error
            the later ones amplify.

    Raises:
        ConfigError: If there is no such storage, or a pattern would halve nothing.
    """
    if storage not in STORAGES:
        raise ConfigError(f"no storage {storage!r}: choose one of {', '.join(STORAGES)}")
    _check_halve(tensors, storage, halve)
    packed = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            packed[name] = tensor.contiguous()
        elif storage == "float32" or not _is_large_matrix(tensor):
            packed[name] = tensor.float().contiguous()
        elif storage == "float16" or tensor.shape[0] == 1 or _matches(name, halve):
            packed[name] = _halved(tensor.float()).contiguous()
        else:
            packed[name], packed[name + _SCALE_SUFFIX] = quantize_rows(tensor.float())
    return packed


def halved_names(packed: Mapping[str, Tensor]) -> list[str]:
    """The names that were kept in half precision, which `pack` takes as patterns."""
    return [name for name, tensor in packed.items() if tensor.dtype == torch.float16]


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32, from any storage; the inverse of `pack` up to rounding.

    Raises:
        WeightsError: If an 8-bit tensor has no scale, or one that does not fit it.
    """
    tensors = {}
    for name, tensor in packed.items():
        if _is_scale(name, packed):
            continue
        if tensor.dtype == torch.int8:
            tensors[name] = tensor.float().mul_(_scale_of(name, packed))
        elif tensor.is_floating_point():
            tensors[name] = tensor.to(torch.float32, copy=True)  # no longer tied to the file
        else:
            tensors[name] = tensor.clone()
    return tensors


def unpacked_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors themselves, without the scales stored beside them."""
    return {
        name: shape
        for name, shape in shapes.items()
        if not (name.endswith(_SCALE_SUFFIX) and name.removesuffix(_SCALE_SUFFIX) in shapes)
    }


def quantize_rows(
    tensor: Float[Tensor, "..."],
) -> tuple[Int8[Tensor, "..."], Float[Tensor, "..."]]:
    """A matrix or kernel as 8-bit integers, and the scale of each index of its first axis."""
    largest = tensor.abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True)
    scale = largest / _LARGEST_INT8
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros stays zeros
    return (tensor / scale).round().to(torch.int8).contiguous(), scale.contiguous()


def _check_halve(tensors: Mapping[str, Tensor], storage: str, halve: Sequence[str]) -> None:
    if halve and storage != "int8":
        raise ConfigError(
            f"halve {halve[0]!r} is for int8 storage, but the storage is {storage}: "
            "choose int8, or leave the pattern out"
        )
    large = [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and _is_large_matrix(tensor)
    ]
    for pattern in halve:
        if not any(fnmatchcase(name, pattern) for name in large):
            example = f", such as {large[0]}" if large else ""
            raise ConfigError(
                f"halve {pattern!r} matches none of the {len(large)} matrices "
                f"that int8 makes smaller{example}: correct the pattern"
            )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_large_matrix(tensor: Tensor) -> bool:
    longer_than_one = sum(size > 1 for size in tensor.shape)
    return longer_than_one >= 2 and math.prod(tensor.shape) >= _SMALLEST_MATRIX


def _halved(tensor: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    half = tensor.half()
    return half if bool(half.isfinite().all()) else tensor  # beyond 65504 there is no half


def _is_scale(name: str, packed: Mapping[str, Tensor]) -> bool:
    owner = packed.get(name.removesuffix(_SCALE_SUFFIX))
    return name.endswith(_SCALE_SUFFIX) and owner is not None and owner.dtype == torch.int8


def _scale_of(name: str, packed: Mapping[str, Tensor]) -> Float[Tensor, "..."]:
    tensor, scale = packed[name], packed.get(name + _SCALE_SUFFIX)
    if scale is None or scale.ndim != tensor.ndim:
        raise WeightsError(
            f"8-bit tensor {name} has no fitting {name}{_SCALE_SUFFIX} beside it: "
            "the checkpoint is damaged, copy it again"
        )
    if any(own not in {1, other} for own, other in zip(scale.shape, tensor.shape, strict=True)):
        raise WeightsError(
            f"{name}{_SCALE_SUFFIX} has the shape {list(scale.shape)}, which does not fit "
            f"{list(tensor.shape)}: the checkpoint is damaged, copy it again"
        )
    return scale.float()
