import itertools
from typing import Any

import pytest
import transformers

from escnet.catseg.config import CATSEG_PRESETS
from escnet.errors import WeightsError
from escnet.model.config import PRESETS, preset
from escnet.weights import bounds
from escnet.weights.bounds import check_model_settings, machine_memory
from escnet.weights.catalog import BUILT_IN_FOLDER
from escnet.weights.config_file import read_json_config

GIGABYTE = 10**9


def refusal(settings: dict[str, Any]) -> str:
    with pytest.raises(WeightsError) as caught:
        check_model_settings(settings, "model settings x", WeightsError)
    message = str(caught.value)
    assert message.isprintable()
    return message


def with_vision(**changes: object) -> dict[str, Any]:
    settings = preset("vit-b-16").to_dict()
    return {**settings, "vision_config": {**settings["vision_config"], **changes}}


def published() -> list[dict[str, Any]]:
    built_in = read_json_config(BUILT_IN_FOLDER / "config.json")
    assert built_in is not None
    sam_huge = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16}
    return [
        built_in,
        *(preset(name).to_dict() for name in PRESETS),
        *(CATSEG_PRESETS[name]().to_dict() for name in CATSEG_PRESETS),
        transformers.CLIPConfig().to_dict(),
        transformers.SiglipConfig().to_dict(),
        transformers.SamConfig(vision_config=sam_huge).to_dict(),
        transformers.Dinov2Config().to_dict(),
    ]


@pytest.mark.parametrize("settings", published(), ids=itertools.count())
def test_models_as_published_are_within_bounds_on_eight_gigabytes(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "machine_memory", lambda: 8 * GIGABYTE)
    check_model_settings(settings, "x", WeightsError)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_size": 100_000}, "image_size 100000, which is not in 1..8,192"),
        ({"image_size": 1_000_000}, "image_size 1000000, which is not in 1..8,192"),
        ({"image_size": 8192}, "makes 262,144 patches of one picture, above the limit of 16,384"),
        ({"kmeans_steps": 10**9}, "kmeans_steps 1000000000, which is not in 0..1,000"),
        ({"kmeans_steps": -1}, "kmeans_steps -1, which is not in 0..1,000"),
        ({"kmeans_steps": 1.5}, "kmeans_steps 1.5, which is no whole number"),
        ({"kmeans_steps": True}, "kmeans_steps True, which is no whole number"),
        ({"kmeans_steps": "10"}, "kmeans_steps '10', which is no whole number"),
        ({"regions_per_class": 10**9}, "regions_per_class 1000000000, which is not in 0..256"),
        (
            {"kmeans_steps": 1000, "regions_per_class": 11},
            "kmeans_steps 1000 x regions_per_class 11 = 11,000, above the limit of 10,000",
        ),
        ({"decoder_dims": [64, 10**6]}, "decoder_dims 1000000, which is not in 0..4,096"),
        ({"num_blocks": 10**6}, "num_blocks 1000000, which is not in 0..64"),
        ({"anything": 10**12}, "anything 1000000000000, which is not in"),
        ({"taps": ["a"], "window": []}, "window [], which is no whole number"),
    ],
)
def test_a_number_out_of_bounds_is_named_with_the_bound(change: dict[str, Any], told: str) -> None:
    assert told in refusal({**preset("vit-b-16").to_dict(), **change})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_size": "x"}, "vision_config.hidden_size 'x', which is no whole number"),
        ({"hidden_size": 10**9}, "vision_config.hidden_size 1000000000, which is not in"),
        ({"num_attention_heads": 5}, "num_attention_heads 5, which does not divide"),
        ({"num_attention_heads": 0}, "num_attention_heads 0, which does not divide"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000, which is not in"),
        ({"image_size": [224, 224]}, "image_size [224, 224], which is no whole number"),
        ({"patch_size": 1}, "makes 147,456 patches of one picture"),
    ],
)
def test_a_number_of_a_tower_is_named_with_its_place(change: dict[str, Any], told: str) -> None:
    assert told in refusal(with_vision(**change))


def test_parameters_beyond_the_memory_are_refused_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "machine_memory", lambda: 24 * GIGABYTE)
    settings = with_vision(hidden_size=8192, num_attention_heads=16, num_hidden_layers=256,
                           intermediate_size=65_536)  # fmt: skip
    told = refusal(settings)
    # 256 layers of 4 x 8192^2 + 2 x 8192 x 65536 values are 343,597 million
    assert "of about 343,6" in told
    assert "million parameters" in told
    assert "but this machine has 24.0 GB" in told


def test_a_model_that_fits_nowhere_else_fits_where_the_memory_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "machine_memory", lambda: 100_000_000)
    assert "but this machine has 0.1 GB" in refusal(preset("vit-b-16").to_dict())
    monkeypatch.setattr(bounds, "machine_memory", lambda: None)
    check_model_settings(preset("vit-b-16").to_dict(), "x", WeightsError)


@pytest.mark.parametrize("name", ["vit-b-16", "vit-l-14"])
def test_the_estimate_of_the_parameters_is_near_their_number(name: str) -> None:
    # CLIP's own paper: ViT-B/16 has 149.6 million, ViT-L/14 427.6 million
    settings = preset(name).to_dict()
    towers = {key: settings[key] for key in ("vision_config", "text_config")}
    estimate = sum(
        bounds._Tower.of(part, is_text=key == "text_config", side=0).num_values
        for key, part in towers.items()
    )
    assert estimate == pytest.approx({"vit-b-16": 149.6e6, "vit-l-14": 427.6e6}[name], rel=0.01)


def test_the_memory_of_this_machine_is_told_in_bytes() -> None:
    memory = machine_memory()
    assert memory is None or memory > 256 * 2**20
