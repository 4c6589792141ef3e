"""Files that are not what they should be, at the command line: one line, exit code 2, and soon."""

import json
import os
import pickle
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from escnet.cli.main import run
from escnet.model.config import preset
from escnet.model.escnet import EscNet

MOST_SECONDS = 60  # of hours that some would take; a busy machine needs a few for a network
Arrange = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint and a tiny CLIP."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    EscNet(preset("tiny")).save_pretrained(folder / "escnet")
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
             "num_attention_heads": 2, "projection_dim": 16}  # fmt: skip
    text = {**tower, "vocab_size": 300, "bos_token_id": 298, "eos_token_id": 299}
    config = CLIPConfig(
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        text_config=text,
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder / "clip")
    return folder


@pytest.fixture
def here(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both models, a picture, and a small data set, to spoil."""
    for name in ("escnet", "clip"):
        shutil.copytree(models / name, tmp_path / name)
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends in."""
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be a second line
        code = run(arguments)
    assert time.monotonic() - start < MOST_SECONDS
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("escnet: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < 500
    return lines[0]


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.touch()
    os.truncate(path, 2**40)  # without a block on the disk


def deep(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text("[" * 100_000)


SPOILERS = {
    "a pipe": (pipe, "is not a regular file"),
    "an endless link": (endless, "is not a regular file"),
    "a file of a terabyte": (huge, "is larger than"),
    "brackets without end": (deep, "is nested more than 64 levels deep"),
}
# What a command reads, and the command.
READ_BY = {
    "result.json": ["report", "result.json"],
    "standing.json": ["leaderboard", "--result", "standing.json"],
    "escnet/config.json": ["weights", "check", "escnet"],
    "clip/config.json": ["segment", "photo.png", "--classes", "a,b", "--model",
                         "training-free:clip", "--device", "cpu"],
}  # fmt: skip


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize("file", READ_BY)
def test_a_small_file_that_is_none_is_refused_at_once(
    file: str, spoiler: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = SPOILERS[spoiler]
    spoil(here / file)
    assert message in complaint(READ_BY[file], capsys)


@pytest.mark.parametrize("spoiler", ["a pipe", "an endless link", "a file of a terabyte"])
def test_a_recipe_that_is_no_small_file_is_refused_at_once(
    spoiler: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = SPOILERS[spoiler]
    spoil(here / "recipe.toml")
    assert message in complaint(["train", "recipe.toml"], capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a = " + "[" * 100_000, "is nested more than 64 levels deep"),
        ("a = " + "{a=" * 100_000, "is nested more than 64 levels deep"),
        (".".join(["a"] * 100_000) + " = 1", "has more than 256 dots in a line"),
        ("a = " + "9" * 5000, "a number has too many digits"),
        ("[training]\nlearning_rate = nan", "nan is no finite number"),
        ("[training]\nlearning_rate = inf", "inf is no finite number"),
        ("a = '", "is not TOML"),
        ("\x00", "is not TOML"),
        ("", "parts is missing: give it"),
    ],
)
def test_a_recipe_that_is_none_is_refused_with_the_reason(
    content: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "recipe.toml").write_text(content)
    assert message in complaint(["train", "recipe.toml"], capsys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100_000}, "image_size 100000, which is not in 1..8,192"),
        ({"image_size": 1_000_000}, "image_size 1000000, which is not in 1..8,192"),
        ({"image_size": 8000}, "makes 1,000,000 patches of one picture, above the limit of 16,384"),
        ({"image_size": "x"}, "image_size 'x', which is no whole number"),
        ({"kmeans_steps": 10**9}, "kmeans_steps 1000000000, which is not in 0..1,000"),
        ({"regions_per_class": 10**9}, "regions_per_class 1000000000, which is not in 0..256"),
        ({"kmeans_steps": 1000, "regions_per_class": 100}, "= 100,000, above the limit of 10,000"),
        ({"num_blocks": 10**7}, "num_blocks 10000000, which is not in 0..64"),
        ({"window": 10**9}, "window 1000000000, which is not in 0..256"),
        ({"vision_config": {"hidden_size": "x"}}, "hidden_size 'x', which is no whole number"),
        ({"vision_config": {"hidden_size": 10**6}}, "hidden_size 1000000, which is not in"),
        ({"text_config": {"num_attention_heads": 5}}, "num_attention_heads 5, which does not"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers 1000000000, which is"),
        ({"text_config": {"vocab_size": 10**12}}, "vocab_size 1000000000000, which is not in"),
        ({"taps": [10**6, 7]}, "taps [1000000, 7] are not two of a tower"),
        ({"model_type": "elephant"}, "a model of type 'elephant'"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "segment"])
def test_settings_beyond_their_bounds_are_refused_before_anything_is_built(
    verb: str,
    changes: dict[str, Any],
    message: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = here / "escnet" / "config.json"
    settings = json.loads(path.read_text())
    for key, value in changes.items():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(settings))
    arguments = {
        "check": ["weights", "check", "escnet"],
        "segment": ["segment", "photo.png", "--classes", "a,b", "--model", "./escnet"],
    }[verb]
    assert message in complaint(arguments, capsys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_config": {"image_size": 100_000}}, "image_size 100000, which is not in"),
        ({"vision_config": {"patch_size": 0}}, "patch_size 0, which is not in 1..1,024"),
        ({"text_config": {"hidden_size": [32]}}, "hidden_size [32], which is no whole number"),
        ({"projection_dim": 10**9}, "projection_dim 1000000000, which is not in"),
    ],
)
def test_the_settings_of_a_clip_have_the_same_bounds(
    changes: dict[str, Any], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "clip" / "config.json"
    settings = json.loads(path.read_text())
    for key, value in changes.items():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(settings))
    assert message in complaint(["weights", "check", "clip"], capsys)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
def test_whole_numbers_where_weights_belong_are_refused(
    dtype: torch.dtype, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "clip" / "model.safetensors"
    tensors = load_file(path)
    name = "vision_model.embeddings.class_embedding"
    save_file({**tensors, name: tensors[name].to(dtype)}, path, metadata={"format": "pt"})
    told = complaint(["weights", "check", "clip"], capsys)
    assert f"({name} as {str(dtype).removeprefix('torch.')})" in told


class Evil:
    """Runs a command when it is unpickled; the file that it makes would show it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil-was-run",)


@pytest.mark.parametrize(
    "arguments",
    [["weights", "check", "evil.pth"], ["weights", "convert", "catseg", "evil.pth", "--out", "o"]],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_asks_to_run_code_is_one_line_and_runs_none(
    arguments: list[str], protocol: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "evil.pth").write_bytes(pickle.dumps({"model": Evil()}, protocol=protocol))
    if "convert" in arguments:
        (here / "clip" / "tokenizer.json").write_text("{}")
        arguments = [*arguments, "--clip", "clip"]
    assert "asks to run code, which is refused" in complaint(arguments, capsys)
    assert not (here / "evil-was-run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights", "check", ""], "the model has no name: give a folder"),
        (["weights", "check", "."], "has no"),
        (["report", "/dev/zero"], "result /dev/zero is not a regular file"),
        (["report", "."], "result . is a folder: name the file in it"),
        (["leaderboard", "--result", "photo.png"], "is not UTF-8 text"),
        (["train", "photo.png"], "is not UTF-8 text"),
    ],
)
def test_what_is_no_file_of_its_kind_is_told_so(
    arguments: list[str],
    message: str,
    here: Path,  # noqa: ARG001 -- the folder that one is in
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in complaint(arguments, capsys)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_score_that_is_no_number_is_refused(
    number: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "result.json").write_text(f'{{"scores": {{"miou_in_truth": {number}}}}}')
    assert f"{number} is no finite number" in complaint(["report", "result.json"], capsys)
