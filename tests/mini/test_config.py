from typing import Any

import pytest

from escnet.errors import ConfigError
from escnet.mini.config import MiniConfig
from escnet.structures import preset_of
from escnet.weights.catalog import BUILT_IN_FOLDER
from escnet.weights.config_file import read_json_config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sam_input": "pixels"}, "sam_input 'pixels' is unknown: choose from joint, tower"),
        ({"upsampling": "sharp"}, "upsampling 'sharp' is unknown: choose from bilinear, guided"),
        ({"share_prior": -0.5}, "share_prior -0.5 is not a number from 0 on"),
        ({"share_prior": float("nan")}, "share_prior nan is not a number"),
        ({"presense": True}, "no setting 'presense': is 'presence' meant?"),
        ({"regions_per_clas": 9}, "no setting 'regions_per_clas': is 'regions_per_class' meant?"),
        ({"num_blocks": 0}, "num_blocks 0 is too small"),
        ({"format_version": 2}, "has the format 2, and this version reads 1: install a later"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        MiniConfig(**settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_preset_is_what_ships() -> None:
    shipped = read_json_config(BUILT_IN_FOLDER / "config.json")
    assert shipped is not None
    config = preset_of("mini")
    for name in config.setting_names():
        if name not in {"origins", "trained_on"}:
            found = getattr(config, name)
            assert shipped[name] == (list(found) if isinstance(found, tuple) else found), name


def test_its_settings_are_those_of_the_paper_and_its_own() -> None:
    names = MiniConfig.setting_names()
    assert {"num_blocks", "presence", "detail"} < set(names)
    assert len(names) == len(set(names))
