"""Where a method computes, and in which precision."""

import torch

from escnet.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def chosen_device(name: str) -> torch.device:
    """The device of that name; "auto" is the best there is.

    Raises:
        ConfigError: If it is unknown, or not on this machine.
    """
    if name not in DEVICES:
        raise ConfigError(f"device {name!r} is unknown: choose from {', '.join(DEVICES)}")
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if has_cuda else "mps" if has_mps else "cpu"
    elif (name == "cuda" and not has_cuda) or (name == "mps" and not has_mps):
        raise ConfigError(f"device {name!r} is not on this machine: use auto or cpu")
    return torch.device(name)


def chosen_dtype(name: str) -> torch.dtype:
    """The type that matrix products are computed in.

    Raises:
        ConfigError: If it is unknown.
    """
    if name not in DTYPES:
        raise ConfigError(f"dtype {name!r} is unknown: choose from {', '.join(DTYPES)}")
    return DTYPES[name]
