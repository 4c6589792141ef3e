"""Tiny networks exported, and their graphs against PyTorch at other numbers of names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import nn

from escnet.catseg.config import CATSEG_PRESETS, CatSegConfig
from escnet.catseg.network import CatSeg
from escnet.errors import ConfigError, OutputError
from escnet.export.folder import export_model
from escnet.inference.calibration import CALIBRATION_FILE, Calibration
from escnet.inference.exported.manifest import Manifest
from escnet.inference.exported.method import load_exported
from escnet.inference.label_maps.curve import Curve
from escnet.inference.methods.model_name import ModelName
from escnet.inference.methods.network_load import load_network_method
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.towers.network import Network
from escnet.weights.checkpoint import weights_hash, write_checkpoint
from tests.answers import answers

NAMES = {"[PAD]": 0, "[UNK]": 1, "<|endoftext|>": 299, "a": 2, "photo": 3, "of": 4, "cat": 5}


def esc_net() -> Network:
    return EscNet(EscNetConfig.from_dict({**preset("tiny").to_dict(), "rejection": [6, 4, 2]}))


def esc_net_with_choices() -> Network:
    choices = {"empty_region": "repeat", "prompts": ["point", "box", "mask"], "sam_masks": True}
    return EscNet(EscNetConfig.from_dict({**preset("tiny").to_dict(), **choices}))


def cat_seg() -> Network:
    small = {"image_size": 8, "view_size": 16, "window": 2, "max_classes": 160}
    return CatSeg(CatSegConfig.from_dict({**CATSEG_PRESETS["tiny"]().to_dict(), **small}))


@pytest.fixture
def checkpoint(tmp_path: Path, stir: Callable[[nn.Module], None]) -> Callable[..., Path]:
    def write(make: Callable[[], Network]) -> Path:
        torch.manual_seed(0)
        network = make()
        stir(network)
        words = tmp_path / "words"
        words.mkdir()
        tokenizer = Tokenizer(WordLevel(NAMES, unk_token="[UNK]"))  # noqa: S106
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(words / "tokenizer.json"))
        write_checkpoint(tmp_path / "model", network.eval(), tokenizer_from=words)
        return tmp_path / "model"

    return write


def calibration_of(folder: Path) -> Calibration:
    return Calibration(
        weights_hash=weights_hash(folder),
        asked={},
        confidence=Curve(slope=0.5, shift=0.0),
        presence=Curve(slope=2.0, shift=-1.0),
        fitted_to={},
    )


@pytest.mark.slow  # a trace takes half a minute
@pytest.mark.parametrize("make", [esc_net, esc_net_with_choices, cat_seg])
@pytest.mark.parametrize("int8", [False, True])
def test_graphs_compute_what_the_network_does_for_any_number_of_names(
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    make: Callable[[], Network],
    int8: bool,
) -> None:
    source = checkpoint(make)
    calibration_of(source).write(source / CALIBRATION_FILE)
    manifest = export_model(str(source), tmp_path / "out", int8=int8)
    assert (tmp_path / "out" / CALIBRATION_FILE).exists() != int8  # these are other weights
    assert not list((tmp_path / "out").glob("*.data"))  # weights in one place
    method = load_exported(tmp_path / "out", threads=1).method
    theirs = load_network_method(
        ModelName.parse(tmp_path / "out"),
        device="cpu",
        dtype="float32",
        memory_budget=2**28,
        threads=None,
    ).method
    assert method.name == theirs.name
    texts = ["a photo of a cat <|endoftext|>", "a cat <|endoftext|>"]
    np.testing.assert_allclose(
        method.encode_text(texts), theirs.encode_text(texts), rtol=1e-4, atol=1e-4
    )
    random = np.random.default_rng(0)
    view = random.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for number in (1, 7, 150):
        text = random.normal(size=(number, manifest.joint_dim)).astype(np.float32)
        (found,), (expected,) = answers(method, [view], text), answers(theirs, [view], text)
        assert found.kept == expected.kept
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    again = export_model(str(source), tmp_path / "out", int8=int8)
    assert again == manifest


def test_what_has_no_network_is_not_exported(tmp_path: Path) -> None:
    for model in ("training-free:mini", "tiny"):
        with pytest.raises(ConfigError, match="is no checkpoint of a network"):
            export_model(model, tmp_path / "out")


def test_nothing_of_others_is_replaced(tmp_path: Path, checkpoint: Callable[..., Path]) -> None:
    source = checkpoint(esc_net)
    with pytest.raises(OutputError, match="is the model itself"):
        export_model(str(source), source)
    own = tmp_path / "out"
    own.mkdir()
    (own / "head.onnx").write_bytes(b"somebody's")
    with pytest.raises(OutputError, match=r"head\.onnx"):
        export_model(str(source), own)
    assert (own / "head.onnx").read_bytes() == b"somebody's"


def test_the_built_in_models_graphs_are_those_of_its_weights() -> None:
    from escnet.weights.catalog import BUILT_IN_FOLDER

    manifest = Manifest.read(BUILT_IN_FOLDER)
    manifest.check_files(BUILT_IN_FOLDER)
    config = json.loads((BUILT_IN_FOLDER / "config.json").read_text())
    assert manifest.share_prior == config["share_prior"]
    assert manifest.template == config["template"]
