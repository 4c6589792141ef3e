import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from escnet.errors import ConfigError
from escnet.model.config import PRESETS, EscNetConfig, preset

REFERENCE = re.compile(r"\[(\d+)\]|\b(?:Table|Sec\.|Eq\.|Fig\.) \d")
PAPER_NOTES = Path(__file__).parents[2] / "docs" / "paper-notes.md"


def said_of_settings() -> dict[str, str]:
    """What the docstring says of each setting, on one line."""
    listed = inspect.cleandoc(EscNetConfig.__doc__ or "").partition("Args:\n")[2]
    listed = listed.partition("\nRaises:")[0]
    entries = re.split(r"^    (\w+): ", listed, flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(*[iter(entries)] * 2, strict=True)}


def test_every_setting_says_which_line_or_open_point_of_the_paper_it_stands_for() -> None:
    said = said_of_settings()
    assert list(said) == EscNetConfig.setting_names()
    assert [name for name, text in said.items() if not REFERENCE.search(text)] == []


def test_every_note_that_a_setting_names_exists() -> None:
    headings = re.findall(r"^## (\d+)\. ", PAPER_NOTES.read_text("utf-8"), flags=re.MULTILINE)
    named = {note for text in said_of_settings().values() for note in REFERENCE.findall(text)}
    assert named - {""} <= set(headings)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_survives_the_way_through_json(name: str) -> None:
    config = preset(name)
    again = EscNetConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert isinstance(again.prompts, tuple)
    assert isinstance(again.skip_dims, tuple)


def test_the_papers_presets_have_its_numbers() -> None:
    for name in ("vit-b-16", "vit-l-14"):
        config = preset(name)
        assert (config.num_blocks, config.regions_per_class) == (4, 5)
        assert config.grid_size == 24
        assert config.prompts == ("point", "mask")
        assert config.sam == "pretrained"


def test_a_preset_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"preset 'huge' is unknown: choose from tiny, vit-b-16"):
        preset("huge")


def test_a_call_for_a_preset_is_a_configuration_of_its_own() -> None:
    first = preset("tiny")
    first.num_blocks = 9
    first.vision_config["hidden_size"] = 1
    assert preset("tiny").num_blocks == 2
    assert preset("tiny").vision_config["hidden_size"] == 32


def test_every_block_holds_both_of_sams_layers_or_one_by_turns() -> None:
    both = EscNetConfig(sam_layers="both")
    alternate = EscNetConfig(sam_layers="alternate")
    assert [both.sam_layers_of(index) for index in range(3)] == [(0, 1)] * 3
    assert [alternate.sam_layers_of(index) for index in range(3)] == [(0,), (1,), (0,)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"towers": "resnet"}, "towers 'resnet' are of no known kind: choose from clip, "),
        ({"sam": "huge"}, "sam 'huge' is unknown: choose from pretrained, random, none"),
        ({"sam_layers": "three"}, "sam_layers 'three' is unknown"),
        ({"appearance": "loop"}, "appearance 'loop' is unknown"),
        ({"state": "vector"}, "state 'vector' is unknown"),
        ({"prompts": ()}, "prompts [] are not some of point, box, mask"),
        ({"image_size": 100}, "image_size 100 is not a multiple of patch_size 16: try 96"),
        ({"image_size": 10}, "image_size 10 is not a multiple of patch_size 16: try 16"),
        ({"hidden_dim": 30}, "hidden_dim 30 is not a multiple of 4"),
        ({"sam": "none", "sam_masks": True}, "sam_masks is set, but sam 'none' leaves no block"),
        ({"sam_dim": 40}, "sam_dim 40 is not a multiple of 16"),
        ({"num_blocks": 0}, "num_blocks 0 is too small: give 1 or more"),
        ({"regions_per_class": -1}, "regions_per_class -1 is too small: give 1 or more"),
        ({"kmeans_steps": 0}, "kmeans_steps 0 is too small: give 1 or more"),
        ({"window": 0}, "window 0 is too small: give 1 or more"),
        ({"sharpness": 0.0}, "sharpness 0.0 is not positive"),
        ({"sharpness": float("inf")}, "sharpness inf is not positive"),
        ({"image_size": 0}, "image_size 0 is too small"),
        ({"image_size": -32}, "image_size -32 is too small"),
        ({"max_classes": -1}, "max_classes -1 is too small: give 0 or more"),
        ({"num_blocks": True}, "num_blocks True is no whole number"),
        ({"ffn_ratio": 0}, "ffn_ratio 0 is too small"),
        ({"embed_kernel": 4}, "embed_kernel 4 is even: choose 5"),
        ({"decoder_dims": (50, 8)}, "decoder_dims [50, 8]: 50 channels are not 3 equal groups"),
        ({"decoder_dims": (64, 0)}, "decoder_dims[1] 0 is too small"),
        ({"skip_dims": (4,)}, "skip_dims [4] has 1 entries: give two"),
        ({"mask_scale": float("nan")}, "mask_scale nan is not finite"),
        ({"regions_per_clas": 9}, "no setting 'regions_per_clas': is 'regions_per_class' meant?"),
        ({"threshold": 0.0}, "threshold 0.0 is outside (0, 1]"),
        ({"threshold": 1.5}, "threshold 1.5 is outside (0, 1]"),
        ({"template": "a photo"}, "template 'a photo' has 0 places for the name"),
        ({"template": "{} {}"}, "template '{} {}' has 2 places for the name"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        EscNetConfig(**settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_largest_threshold_keeps_the_best_patch_alone() -> None:
    assert EscNetConfig(threshold=1.0).threshold == 1.0


@pytest.mark.parametrize("dims", [(24, 8), (64, 32), (31, 16), (40, 1)])
def test_widths_that_the_decoder_can_normalise_are_allowed(dims: tuple[int, int]) -> None:
    assert EscNetConfig(decoder_dims=dims).decoder_dims == dims


def test_settings_of_transformers_pass(tmp_path: Path) -> None:
    EscNetConfig(return_dict=True, some_new_thing=1).save_pretrained(tmp_path)
    assert EscNetConfig.from_pretrained(tmp_path).some_new_thing == 1
