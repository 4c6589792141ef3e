import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    CLIPConfig,
    CLIPModel,
    SamConfig,
    SamModel,
    SamVisionConfig,
    SiglipConfig,
    SiglipModel,
)

from escnet.errors import ConfigError, WeightsError
from escnet.inference.method import Method
from escnet.inference.segmenter import Segmenter
from escnet.inference.training_free import load_training_free, parse_choices
from escnet.model.self_attention import ATTENTIONS
from escnet.weights.catalog import BUILT_IN_FOLDER

_SEPARATOR = 102  # of the built-in model's tokenizer, which stands in for CLIP's


def save_towers(folder: Path, kind: str) -> Path:
    """A small CLIP or SigLIP with random weights, laid out as on the hub."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    vision = {**sizes, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
    text = {**sizes, "num_hidden_layers": 2, "vocab_size": 30522, "max_position_embeddings": 64}
    if kind == "clip":
        text |= {"bos_token_id": 101, "eos_token_id": _SEPARATOR}
        config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=32)
        CLIPModel(config).save_pretrained(folder)
    else:
        SiglipModel(SiglipConfig(vision_config=vision, text_config=text)).save_pretrained(folder)
    shutil.copy(BUILT_IN_FOLDER / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_towers(tmp_path_factory.mktemp("clip"), "clip")


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam")
    vision = SamVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, mlp_dim=8)
    torch.manual_seed(0)
    SamModel(SamConfig(vision_config=vision.to_dict())).save_pretrained(folder)
    return folder


def test_choices_follow_a_question_mark() -> None:
    choices = parse_choices("some/clip?attention=sclip&templates=single")
    assert choices == ("some/clip", "sclip", "single")


@pytest.mark.parametrize("name", ["x?attention=foo", "x?size=3", "x?templates="])
def test_an_unknown_choice_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="choose from"):
        parse_choices(name)


def test_a_name_without_a_clip_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks a CLIP: write training-free:CLIP"):
        load_training_free("?attention=clip", device="cpu", dtype="float32")


def test_every_attention_gives_other_maps_and_is_in_the_settings(clip: Path) -> None:
    view = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    maps = []
    for attention in ATTENTIONS:
        method, _ = load_training_free(
            f"{clip}?attention={attention}", device="cpu", dtype="float32"
        )
        assert method.settings["attention"] == attention
        text = method.encode_text(["cat", "dog"])
        maps.append(method.logits([view], text)[0].logits)
    assert all(one.shape == (2, 4, 4) for one in maps)
    pairs = [(a, b) for i, a in enumerate(maps) for b in maps[:i]]
    assert len(pairs) == 6
    assert all((a - b).abs().max() > 1e-3 for a, b in pairs)


def test_a_names_embedding_is_the_mean_over_the_templates(clip: Path) -> None:
    single, _ = load_training_free(f"{clip}?templates=single", device="cpu", dtype="float32")
    subset, _ = load_training_free(str(clip), device="cpu", dtype="float32")
    templates: Any = subset.settings["templates"]
    sentences = [template.replace("{}", "cat") for template in templates]
    assert len(sentences) == 7
    tokens = single._tokenize(sentences)
    with torch.inference_mode():
        each = single.correlator.encode_text(tokens.token, tokens.is_token)
    expected = F.normalize(each, dim=1).mean(dim=0, keepdim=True)
    torch.testing.assert_close(subset.encode_text(["cat"]), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(single.encode_text(["cat"]), expected, atol=1e-3)


def test_a_siglip_is_read_too(tmp_path: Path) -> None:
    method, _ = load_training_free(
        str(save_towers(tmp_path, "siglip")), device="cpu", dtype="float32"
    )
    view = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    assert method.logits([view], method.encode_text(["cat"]))[0].logits.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("form", "method"),
    [
        ("training-free:{}?attention=sclip", "training-free"),
        ("training-free:{}+sam:{}", "training-free-sam"),
        ("proposals:{}+sam:{}", "mask-proposals"),
        ("proposals-crop:{}?templates=single+sam:{}", "mask-proposals"),
    ],
)
def test_folders_as_of_the_hub_segment_a_picture(
    clip: Path, sam: Path, form: str, method: str
) -> None:
    name = form.replace("{}", str(clip), 1).replace("{}", str(sam))
    segmenter = Segmenter.load(name)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    result = segmenter.segment(pixels, ["cat", "dog", "sky"])
    assert result.label_map.shape == (48, 64)
    assert segmenter.method.name == result.settings["method"] == method


def test_a_clip_given_as_a_network_tells_the_name_that_works(clip: Path) -> None:
    with pytest.raises(WeightsError, match=r"is a clip alone.*give it as training-free:"):
        Segmenter.load(str(clip))


def test_a_model_of_unknown_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip"}))
    with pytest.raises(WeightsError, match=r"'blip'.*clip, siglip and escnet"):
        load_training_free(str(tmp_path), device="cpu", dtype="float32")


def test_an_esc_net_answers_with_its_correlation() -> None:
    method, _ = load_training_free("tiny", device="cpu", dtype="float32")
    assert isinstance(method, Method)
    view = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    text = method.encode_text(["cat", "dog"])
    (found,) = method.logits([view], text)
    assert found.kept == [0, 1]
    network = method.correlator.network
    image = torch.zeros(1, 3, method.view_size, method.view_size)
    assert found.logits.shape == network.correlate(network.vision(image), text)[0].shape
