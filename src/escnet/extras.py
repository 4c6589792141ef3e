"""What needs more than a plain install, told in one line where that is missing."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from escnet.errors import ConfigError

# Of the extra `torch`, by their names for Python.
_WITH_TORCH = (
    "accelerate",
    "einops",
    "huggingface_hub",
    "matplotlib",
    "onnx",
    "onnxscript",
    "packaging",
    "torch",
    "transformers",
)


def require(module: str, what: str) -> None:
    """Refuse what cannot work without a library of the extra `torch` that is not installed.

    Args:
        module: The library's name for Python.
        what: What needs it, the beginning of the line.

    Raises:
        ConfigError: If it is not installed.
    """
    if not is_installed(module):
        raise needs_torch(what)


def needs_torch(what: str) -> ConfigError:
    """The error for what works with the extra `torch` alone."""
    return ConfigError(f"{what} needs PyTorch: pip install 'escnet[torch]'")


def is_of_torch(module: str | None) -> bool:
    """Whether a library that is missing comes with the extra `torch`."""
    return (module or "").partition(".")[0] in _WITH_TORCH


def is_installed(module: str) -> bool:
    """Whether a library can be imported; it is not."""
    return find_spec(module) is not None


def module_of_extra(name: str, extra: str) -> ModuleType:
    """A module of a library that an extra brings along.

    Args:
        name: The module's name.
        extra: The extra of this package.

    Raises:
        ConfigError: If the library is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'escnet[{extra}]'") from None
