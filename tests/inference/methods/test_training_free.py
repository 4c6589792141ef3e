import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    SamConfig,
    SamModel,
    SamVisionConfig,
    SiglipConfig,
    SiglipModel,
)

from escnet.errors import ConfigError, WeightsError
from escnet.inference.methods.method import Method
from escnet.inference.methods.model_name import ModelName
from escnet.inference.methods.training_free import TrainingFreeMethod, load_training_free
from escnet.inference.segmenter import Segmenter
from escnet.towers.self_attention import ATTENTIONS
from escnet.weights.catalog import BUILT_IN_FOLDER
from tests.answers import answers

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


def load(name: str) -> tuple[TrainingFreeMethod, str]:
    return load_training_free(
        ModelName.parse(f"training-free:{name}"), device="cpu", dtype="float32"
    )


@pytest.mark.parametrize("name", ["x?attention=foo", "x?size=3", "x?templates="])
def test_an_unknown_choice_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="choose from"):
        load(name)


def test_every_attention_gives_other_maps_and_is_in_the_settings(clip: Path) -> None:
    view = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    maps = []
    for attention in ATTENTIONS:
        method, _ = load(f"{clip}?attention={attention}")
        assert method.settings["attention"] == attention
        text = method.encode_text(["cat", "dog"])
        maps.append(answers(method, [view], text)[0].logits)
    assert all(one.shape == (2, 4, 4) for one in maps)
    pairs = [(a, b) for i, a in enumerate(maps) for b in maps[:i]]
    assert len(pairs) == 6
    assert all(np.abs(a - b).max() > 1e-3 for a, b in pairs)


def test_a_names_embedding_is_the_mean_over_the_templates(clip: Path) -> None:
    single, _ = load(f"{clip}?templates=single")
    subset, _ = load(str(clip))
    templates: Any = subset.settings["templates"]
    sentences = [template.replace("{}", "cat") for template in templates]
    assert len(sentences) == 7
    tokens = single._tokenize(sentences)
    with torch.inference_mode():
        each = single.correlator.encode_text(*map(torch.from_numpy, tokens))
    expected = F.normalize(each, dim=1).mean(dim=0, keepdim=True).numpy()
    np.testing.assert_allclose(subset.encode_text(["cat"]), expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(single.encode_text(["cat"]), expected, atol=1e-3)


def test_a_siglip_is_read_too(tmp_path: Path) -> None:
    method, _ = load(str(save_towers(tmp_path, "siglip")))
    view = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    assert answers(method, [view], method.encode_text(["cat"]))[0].logits.shape == (1, 4, 4)


def save_siglip_tokenizer(folder: Path, words: list[str]) -> None:
    """A tokenizer laid out as SigLIP's: there is a <pad>, and texts are padded with </s>."""
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *((f"▁{word}", -2.0) for word in words),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"pad_token": "</s>", "eos_token": "</s>", "model_max_length": 64}
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("has_settings", [True, False])
def test_a_siglip_reads_a_text_as_transformers_does(tmp_path: Path, has_settings: bool) -> None:
    folder = save_towers(tmp_path, "siglip")
    save_siglip_tokenizer(folder, ["a", "photo", "of", "cat"])
    inputs = AutoTokenizer.from_pretrained(folder)(
        ["a photo of a cat"], padding="max_length", return_tensors="pt"
    )
    with torch.inference_mode():
        answer = SiglipModel.from_pretrained(folder).eval().get_text_features(inputs.input_ids)
    expected = F.normalize(getattr(answer, "pooler_output", answer), dim=1)
    if not has_settings:  # as in folders that were fetched without them
        (folder / "tokenizer_config.json").unlink()
    method, _ = load(f"{folder}?templates=single")
    tokens = method._tokenize(["a photo of a cat"])
    assert tokens.token.tolist() == inputs.input_ids.tolist()
    with torch.inference_mode():
        found = method.correlator.encode_text(*map(torch.from_numpy, tokens))
    torch.testing.assert_close(F.normalize(found, dim=1), expected, rtol=1e-4, atol=1e-5)


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
    with pytest.raises(WeightsError, match=r"is CLIP alone.*give it as training-free:"):
        Segmenter.load(str(clip))


def test_a_model_of_unknown_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip"}))
    with pytest.raises(WeightsError, match=r"'blip'.* are clip, .*siglip"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_type": []}, r"has model_type \[\], no text"),
        ({"model_type": "clip", "vision_config": [1]}, "does not describe a network"),
        (
            {"model_type": "clip", "text_config": {"hidden_size": "a"}},
            "has text_config.hidden_size 'a', which is no whole number",
        ),
        (
            {"model_type": "siglip", "vision_config": {"hidden_size": 1.5}},
            "has vision_config.hidden_size 1.5, which",
        ),
        (
            {"model_type": "clip", "projection_dim": "wide"},
            "has projection_dim 'wide', which is no whole number",
        ),
        ("[" * 200_000, "is nested more than 64 levels"),
        ([], "holds a JSON list"),
    ],
)
def test_settings_that_describe_no_clip_are_one_error(
    clip: Path, tmp_path: Path, content: Any, message: str
) -> None:
    folder = shutil.copytree(clip, tmp_path / "clip")
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=f"config.json {message}") as error:
        load(str(folder))
    assert "\n" not in str(error.value)


def test_a_tower_that_wants_a_library_that_is_not_here_is_one_error(
    clip: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(clip, tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"config\.json does not describe a network"):
        load(str(folder))


def test_a_folder_without_settings_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no config\.json: give a folder with the towers"):
        load(str(tmp_path))


def test_an_esc_net_answers_with_its_correlation() -> None:
    method, _ = load("tiny")
    assert isinstance(method, Method)
    view = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    text = method.encode_text(["cat", "dog"])
    (found,) = answers(method, [view], text)
    assert found.kept == [0, 1]
    network = method.correlator.network
    image = torch.zeros(1, 3, method.view_size, method.view_size)
    assert (
        found.logits.shape
        == network.correlate(network.vision(image), torch.from_numpy(text))[0].shape
    )
