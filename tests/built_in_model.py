"""The built-in model where only the way to it is tested: as it is called, in less time."""

import io
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from escnet.inference.figures import compared_model, comparison
from escnet.weights import catalog

_SIDE = 224  # half the model's own: a quarter of its time

needs_the_model = pytest.mark.skipif(
    not (catalog.BUILT_IN_FOLDER / "config.json").exists(),
    reason="the built-in model is not in this checkout",
)


@pytest.fixture(scope="session")
def quick_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model, but that it sees pictures at half the size."""
    folder = tmp_path_factory.mktemp("built-in") / "mini"
    folder.mkdir()
    for path in catalog.BUILT_IN_FOLDER.iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path)
    config = json.loads((catalog.BUILT_IN_FOLDER / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_size": _SIDE}))
    return folder


@pytest.fixture
def quick_model(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, under the built-in model's name."""
    monkeypatch.setattr(catalog, "BUILT_IN_FOLDER", quick_folder)
    return quick_folder


@pytest.fixture
def compared_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`escnet compare` in one process: each takes seconds to start, and test_compare.py does it."""

    def run(command: Sequence[str], *, input: str, **_: Any) -> object:  # noqa: A002
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(input))
            compared_model.main()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(comparison, "subprocess", SimpleNamespace(run=run))
