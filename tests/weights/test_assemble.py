import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from escnet.errors import ConfigError, WeightsError
from escnet.model import config as presets
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.training.pictures_plan import build_with_towers
from escnet.training.pictures_recipe import TowersSection
from escnet.weights.assemble import (
    assemble,
    install_sam,
)
from escnet.weights.checkpoint import load_checkpoint, write_checkpoint
from escnet.weights.install import install_module, install_tower
from escnet.weights.sam import read_sam_parts, sam_shapes

SAM_SIZED = {"sam": "pretrained", "sam_dim": 256, "sam_mlp_dim": 2048}


def tiny(**settings: Any) -> EscNetConfig:
    return EscNetConfig.from_dict({**preset("tiny").to_dict(), **settings})


@pytest.fixture(autouse=True)
def small_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset of CLIP's kind that is quick to build."""
    monkeypatch.setitem(presets.PRESETS, "small", lambda: tiny(**SAM_SIZED))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP of the tiny preset's sizes, as transformers saves it."""
    folder = tmp_path_factory.mktemp("clip")
    config = preset("tiny")
    torch.manual_seed(1)
    CLIPModel(
        CLIPConfig(
            vision_config=config.vision_config, text_config=config.text_config, projection_dim=16
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sam") / "sam.safetensors"
    torch.manual_seed(2)
    save_file({name: torch.randn(shape) for name, shape in sam_shapes().items()}, path)
    return path


def spoilt(folder: Path, target: Path, spoil: Callable[[dict[str, Tensor]], None]) -> Path:
    """A copy of a folder's tensors with something done to them."""
    tensors = load_file(folder / "model.safetensors")
    spoil(tensors)
    save_file(tensors, target / "model.safetensors")
    shutil.copy(folder / "config.json", target)
    return target


def with_settings(folder: Path, target: Path, part: str, **settings: object) -> Path:
    """A copy of a folder whose config.json says something else of a tower."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    config[part] |= settings
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_clips_towers_answer_as_they_did(clip_folder: Path) -> None:
    network = assemble("small", towers=clip_folder, sam=None)
    theirs = CLIPModel.from_pretrained(clip_folder).eval()
    token = torch.tensor([[298, 5, 6, 299]])
    ones = torch.ones_like(token)
    with torch.no_grad():
        expected = theirs.get_text_features(input_ids=token, attention_mask=ones)
        expected = getattr(expected, "pooler_output", expected)
        torch.testing.assert_close(network.encode_text(token, ones), expected)
    mine, state = network.vision.tower.state_dict(), theirs.state_dict()
    assert mine
    for name, value in mine.items():
        assert torch.equal(value, state[name]), name


def test_a_preset_takes_over_the_activation_functions_of_a_clip(
    clip_folder: Path, tmp_path: Path
) -> None:
    folder = with_settings(clip_folder, tmp_path / "a", "text_config", hidden_act="gelu")
    folder = with_settings(folder, tmp_path / "b", "vision_config", hidden_act="gelu_new")
    write_checkpoint(tmp_path / "ours", assemble("small", towers=folder, sam=None))
    network = load_checkpoint(tmp_path / "ours")
    assert network.config.text_config["hidden_act"] == "gelu"
    assert network.config.vision_config["hidden_act"] == "gelu_new"
    theirs = CLIPModel.from_pretrained(folder).eval()
    token = torch.tensor([[298, 5, 6, 299]])
    ones = torch.ones_like(token)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.get_text_features(input_ids=token, attention_mask=ones)
        expected = getattr(expected, "pooler_output", expected)
        torch.testing.assert_close(network.encode_text(token, ones), expected)
        torch.testing.assert_close(
            network.vision.tower.vision_model(image).pooler_output,
            theirs.vision_model(image).pooler_output,
        )


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        ("vision_config", {"num_attention_heads": 4}, "num_attention_heads 4 in its vision_config"),
        ("text_config", {"num_attention_heads": 1}, "1 in its text_config, the network 2"),
        ("vision_config", {"layer_norm_eps": 0.01}, "0.01 in its vision_config, the network 1e-05"),
        ("text_config", {"layer_norm_eps": 1e-6}, "layer_norm_eps 1e-06 in its text_config"),
        ("text_config", {"hidden_act": "new"}, "hidden_act 'new' in its text_config"),
        ("text_config", {"hidden_size": "big"}, "hidden_size 'big', which is no whole number"),
    ],
)
def test_a_clip_of_other_settings_is_refused_though_its_tensors_fit(
    clip_folder: Path, tmp_path: Path, part: str, settings: dict[str, object], message: str
) -> None:
    folder = with_settings(clip_folder, tmp_path / "clip", part, **settings)
    with pytest.raises(WeightsError, match=rf"config\.json .*{message}") as error:
        assemble("small", towers=folder, sam=None)
    assert "\n" not in str(error.value)


def test_settings_given_whole_name_the_activation_function_themselves(
    clip_folder: Path, tmp_path: Path
) -> None:
    folder = with_settings(clip_folder, tmp_path / "clip", "vision_config", hidden_act="gelu")
    config = tiny()
    with pytest.raises(
        WeightsError,
        match=r"'gelu' in its vision_config, the network 'quick_gelu': give",
    ):
        assemble(config, towers=folder, sam=None)
    assert "hidden_act" not in config.vision_config
    config.vision_config["hidden_act"] = "gelu"
    assert assemble(config, towers=folder, sam=None).config.vision_config["hidden_act"] == "gelu"


def test_a_folder_of_another_model_is_refused_as_a_clip(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    (folder / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(WeightsError, match="of the kind siglip, the network has clip: give"):
        assemble("small", towers=folder, sam=None)


@pytest.mark.parametrize("asked", ["pretrained", "random"])
@pytest.mark.parametrize("is_given", [True, False])
def test_the_settings_say_whether_sam_is_in_the_network(
    clip_folder: Path, sam_file: Path, asked: str, is_given: bool
) -> None:
    config = tiny(**{**SAM_SIZED, "sam": asked})
    network = assemble(config, towers=clip_folder, sam=sam_file if is_given else None)
    assert network.config.sam == ("pretrained" if is_given else "random")
    assert config.sam == asked  # the caller's own
    assert not config.origins


@pytest.mark.parametrize(("asked", "said"), [("pretrained", ["SAM"]), ("random", [])])
def test_a_recipe_with_random_towers_has_the_sam_that_it_names(
    sam_file: Path, asked: str, said: list[str]
) -> None:
    network = build_with_towers(
        tiny(**{**SAM_SIZED, "sam": asked}), TowersSection(model="", sam=str(sam_file))
    )
    assert [origin["part"] for origin in network.config.origins] == said
    prompt_encoder = network.prompt_encoder
    assert prompt_encoder is not None
    published = load_file(sam_file)["prompt_encoder.no_mask_embed.weight"]
    found = prompt_encoder.no_mask_embed.weight.detach()
    assert torch.equal(found, published) == (asked == "pretrained")


def test_a_network_without_sam_blocks_stays_one(clip_folder: Path, sam_file: Path) -> None:
    config = tiny(sam="none")
    assert assemble(config, towers=clip_folder, sam=None).config.sam == "none"
    with pytest.raises(ConfigError, match="sam 'none' leaves no block to load SAM into"):
        assemble(config, towers=clip_folder, sam=sam_file)


def test_position_numbers_that_older_files_hold_are_no_strangers(
    clip_folder: Path, tmp_path: Path
) -> None:
    def add(tensors: dict[str, Tensor]) -> None:
        tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]

    assemble("small", towers=spoilt(clip_folder, tmp_path, add), sam=None)


def test_every_part_leaves_its_record(clip_folder: Path, sam_file: Path) -> None:
    network = assemble("small", towers=clip_folder, sam=sam_file)
    assert not network.training
    assert [origin["part"] for origin in network.config.origins] == ["CLIP", "SAM"]
    assert all(len(origin["sha256"]) == 64 for origin in network.config.origins)
    alone = assemble("small", towers=clip_folder, sam=None)
    assert [origin["part"] for origin in alone.config.origins] == ["CLIP"]


def drop(tensors: dict[str, Tensor]) -> None:
    del tensors["vision_model.post_layernorm.weight"]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["text_model.stranger"] = torch.ones(1)


def break_value(tensors: dict[str, Tensor]) -> None:
    tensors["text_projection.weight"][3, 2] = torch.inf


def widen(tensors: dict[str, Tensor]) -> None:
    tensors["text_projection.weight"] = torch.ones(17, 32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, r"lacks 1 of \d+ tensors \(vision_model\.post_layernorm\.weight\)"),
        (add, r"holds 1 that do not belong \(text_model\.stranger\)"),
        (break_value, r"infinite or no number in 1 of \d+ tensors \(text_projection\.weight\)"),
        (widen, r"1 of another shape \(text_projection\.weight is \[17, 32\], not \[16, 32\]\)"),
    ],
)
def test_a_clip_that_does_not_fit_is_one_error(
    clip_folder: Path,
    tmp_path: Path,
    spoil: Callable[[dict[str, Tensor]], None],
    message: str,
) -> None:
    with pytest.raises(WeightsError, match=message) as error:
        assemble("small", towers=spoilt(clip_folder, tmp_path, spoil), sam=None)
    assert "\n" not in str(error.value)


def test_settings_with_other_towers_than_the_folders_are_refused(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    siglip = {"vision_config": {**tower, "image_size": 32, "patch_size": 8},
              "text_config": {**tower, "vocab_size": 300, "projection_size": 32},
              "joint_dim": 32, "taps": [0, 0]}  # fmt: skip
    monkeypatch.setitem(presets.PRESETS, "other", lambda: tiny(towers="siglip", **siglip))
    with pytest.raises(WeightsError, match="holds towers of the kind clip, the network has siglip"):
        assemble("other", towers=clip_folder, sam=None)
    with pytest.raises(ConfigError, match="preset 'huge' is unknown"):
        assemble("huge", towers=clip_folder, sam=None)


@pytest.mark.parametrize("layers", ["both", "alternate"])
def test_sam_goes_into_every_block(sam_file: Path, layers: str) -> None:
    network = EscNet(tiny(**SAM_SIZED, sam_layers=layers))
    parts = read_sam_parts(sam_file)
    install_sam(network, parts)
    assert network.prompt_encoder is not None
    for name, value in network.prompt_encoder.state_dict().items():
        assert torch.equal(value, parts.prompt_encoder[name]), name
    for index, block in enumerate(network.blocks):
        held = {name.split(".")[1] for name in block.sam.two_way.state_dict()}
        assert held == ({"0", "1"} if layers == "both" else {str(index % 2)})
        assert torch.equal(block.sam.output_tokens, parts.output_tokens)
        for name, value in block.sam.two_way.state_dict().items():
            assert torch.equal(value, parts.two_way[name]), name


def test_sams_mask_head_goes_into_every_block_that_has_one(sam_file: Path) -> None:
    network = EscNet(tiny(**SAM_SIZED, sam_masks=True))
    parts = read_sam_parts(sam_file)
    install_sam(network, parts)
    assert len(network.blocks) == 2
    for block in network.blocks:
        held = block.sam.mask_head.state_dict()
        assert held.keys() == parts.mask_head.keys()
        for name, value in held.items():
            assert torch.equal(value, parts.mask_head[name]), name


def test_the_blocks_do_not_share_their_copies_of_sam(sam_file: Path) -> None:
    network = EscNet(tiny(**SAM_SIZED))
    parts = read_sam_parts(sam_file)
    install_sam(network, parts)
    with torch.no_grad():
        network.blocks[0].sam.output_tokens.zero_()
    assert torch.equal(network.blocks[1].sam.output_tokens, parts.output_tokens)
    assert parts.output_tokens.any()


def test_sam_does_not_fit_blocks_of_another_width(sam_file: Path) -> None:
    with pytest.raises(WeightsError, match=r"SAM has .* of another shape") as error:
        install_sam(EscNet(tiny()), read_sam_parts(sam_file))
    assert "\n" not in str(error.value)


def test_without_blocks_there_is_no_place_for_sam(sam_file: Path) -> None:
    with pytest.raises(ConfigError, match="sam 'none' leaves no block to load SAM into"):
        install_sam(EscNet(tiny(sam="none")), read_sam_parts(sam_file))


def test_a_part_of_a_module_may_be_loaded_and_the_rest_stays() -> None:
    module = nn.Linear(2, 3)
    before = module.weight.detach().clone()
    install_module(module, {"bias": torch.full((3,), 7.0)}, "file", partly=True)
    assert module.bias.tolist() == [7.0, 7.0, 7.0]
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize(
    ("tensors", "partly", "message"),
    [
        ({"bias": torch.ones(3)}, False, r"file lacks 1 of 2 tensors \(weight\)"),
        ({"bias": torch.ones(2)}, True, r"bias is \[2\], not \[3\]"),
        ({"bios": torch.ones(3)}, True, r"holds 1 that do not belong \(bios\)"),
        ({"bias": torch.tensor([1, torch.nan, 1])}, True, r"no number in 1 of 1 tensors \(bias\)"),
    ],
)
def test_a_module_is_loaded_strictly(
    tensors: dict[str, Tensor], partly: bool, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        install_module(nn.Linear(2, 3), tensors, "file", partly=partly)


def test_a_tower_is_left_as_it_was_where_its_file_does_not_fit(clip_folder: Path) -> None:
    tower = EscNet(tiny()).vision.tower
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    tensors = load_file(clip_folder / "model.safetensors")
    tensors = {name: value for name, value in tensors.items() if name.startswith("visual_")}
    with pytest.raises(WeightsError, match="lacks"):
        install_tower(tower, tensors, "file")
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
