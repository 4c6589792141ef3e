"""Names that are one to a model are told at every door."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["segment", "PICTURE", "--classes", "cafe, café"],
        ["compare", "PICTURE", "--models", "mini", "--classes", "cafe, café"],
        ["explain", "PICTURE", "--class", "cafe", "--classes", "café"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_tells_in_one_line_of_names_that_are_one(
    command: list[str], picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(picture) if part == "PICTURE" else part for part in command]
    assert run([*arguments, "--out", str(tmp_path / "out")]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(told) == 1
    assert told[0].startswith("escnet: warning: names that are one to model mini")
    assert "'cafe' and 'café' are equal" in told[0]
