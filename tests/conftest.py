"""What every test may use: no network, no cache, and a folder of hostile picture files."""

import gc
import re
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from jaxtyping import _import_hook

sys.path.insert(0, str(Path(__file__).parent / "door"))  # tests are no package: for `corpus`

if TYPE_CHECKING:
    from corpus import Expected
    from torch import nn


def _exec_module(loader: Any, module: ModuleType) -> None:
    """As jaxtyping's, for modules with shapes; the types of the others are mypy's to check.

    jaxtyping's also renames the compiled files of all that a module imports. So PyTorch would be
    compiled anew, by every process where no compiled files are written.
    """
    if b"jaxtyping" not in loader.get_data(loader.path):
        SourceFileLoader(loader.name, loader.path).exec_module(module)
        return
    own_name = partial(_import_hook._optimized_cache_from_source, loader._typechecker.get_hash())
    with patch("importlib._bootstrap_external.cache_from_source", own_name):
        code = loader.get_code(module.__name__)
    exec(code, vars(module))  # noqa: S102 -- as an import does


patch.object(_import_hook._JaxtypingLoader, "exec_module", _exec_module).start()


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that was imported, which stays anyway."""
    gc.collect()
    gc.freeze()


_LOOPBACK = {"127.0.0.1", "::1", "localhost", "", None}


def _guarded(name: str) -> Any:
    """The method of a socket, refusing any address beyond this machine."""
    original = getattr(socket.socket, name)

    def method(self: socket.socket, *args: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            _refuse_outside(args[-1][0])
        return original(self, *args)

    return method


def _refuse_outside(host: Any) -> None:
    if isinstance(host, bytes):
        host = host.decode()
    if host not in _LOOPBACK:
        # No OSError, which a library would take for a network that is down, and go on.
        raise RuntimeError(f"a test reached for the network ({host})")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Block every connection and name look-up but those on the loopback interface."""
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_outside(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, _guarded(name))
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep nothing of one test for another, and nothing in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESCNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ESCNET_CACHE_MB", "0")
        yield


@pytest.fixture(scope="session", autouse=True)
def all_patterns_kept() -> Iterator[None]:
    """Keep compiled patterns: transformers makes one for each tensor that it reads or writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(re, "_MAXCACHE", 2**16)
        yield


@pytest.fixture(scope="session")
def hostile_corpus(tmp_path_factory: pytest.TempPathFactory) -> "dict[Path, Expected]":
    """For each file of the hostile corpus what reading it has to end in; do not write there."""
    from corpus import make_corpus

    folder = tmp_path_factory.mktemp("hostile")
    return {folder / name: expected for name, expected in make_corpus(folder).items()}


@pytest.fixture
def stir() -> "Callable[[nn.Module], None]":
    """Moves every parameter: a fresh norm of 1 or a fresh bias of 0 hides mistakes."""
    import torch

    def move(module: "nn.Module") -> None:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))

    return move
