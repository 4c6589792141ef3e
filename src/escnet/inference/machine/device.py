"""Where a method computes, and in which precision."""

import re
from typing import TYPE_CHECKING

from escnet.errors import ConfigError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")

_DEVICE = re.compile(r"auto|(?:cpu|cuda|mps)(?::\d{1,3})?")
_KNOWN = "choose from auto, cpu, cuda, mps, or one of several such as cuda:1"


def check_placement(device: object, dtype: object) -> None:
    """Refuse names of devices and types that cannot be, without PyTorch.

    Raises:
        ConfigError: If one is unknown.
    """
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise ConfigError(f"device {str(device)!r} is unknown: {_KNOWN}")
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown: choose from {', '.join(DTYPES)}")


def chosen_device(name: str) -> "torch.device":
    """The device of that name, as PyTorch names devices; "auto" is the best there is.

    Raises:
        ConfigError: If it is unknown, or not on this machine.
    """
    import torch  # noqa: PLC0415 -- so that names can be checked without

    check_placement(name, DTYPES[0])
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    num_mps = int(torch.backends.mps.is_available())
    if name == "auto":
        return torch.device("cuda" if num_cuda else "mps" if num_mps else "cpu")
    device = torch.device(name)
    there = {"cuda": num_cuda, "mps": num_mps, "cpu": 1}[device.type]
    if (device.index or 0) >= there:
        raise ConfigError(f"device {name!r} is not on this machine: use auto or cpu")
    return device


def quick_dtype(device_type: str) -> str:
    """The type that matrix products are quickest in: bfloat16, unless a processor has none.

    Without instructions for it a processor takes ten times as long as in float32, or longer.

    Args:
        device_type: As PyTorch names it, such as "cpu".
    """
    import torch  # noqa: PLC0415 -- so that names can be checked without

    # The one question to which oneDNN, which computes them, has an answer.
    if device_type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
        return "float32"
    return "bfloat16"


def chosen_dtype(name: str) -> "torch.dtype":
    """The type that matrix products are computed in.

    Raises:
        ConfigError: If it is unknown.
    """
    import torch  # noqa: PLC0415 -- so that names can be checked without

    check_placement("auto", name)
    dtype: torch.dtype = getattr(torch, name)
    return dtype
