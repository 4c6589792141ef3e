"""What needs more than a plain install, told in one line where that is missing."""

from importlib.util import find_spec

from escnet.errors import ConfigError

_TITLES = {"torch": "PyTorch", "huggingface_hub": "the model hub's client"}


def require(module: str, what: str) -> None:
    """Refuse what cannot work without a library of the extra `torch` that is not installed.

    Args:
        module: The library's name for Python.
        what: What needs it, the beginning of the line.

    Raises:
        ConfigError: If it is not installed.
    """
    if not is_installed(module):
        raise ConfigError(
            f"{what} needs {_TITLES.get(module, module)}: pip install 'escnet[torch]'"
        )


def is_installed(module: str) -> bool:
    """Whether a library can be imported; it is not."""
    return find_spec(module) is not None
