from typing import Any

import pytest

from escnet.catseg.config import CATSEG_PRESETS, CatSegConfig
from escnet.errors import ConfigError


@pytest.mark.parametrize("name", sorted(CATSEG_PRESETS))
def test_every_preset_sees_24_by_24_patches(name: str) -> None:
    assert CATSEG_PRESETS[name]().grid_size == 24


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 100}, "image_size 100 is not a multiple of patch_size 16: try 96"),
        ({"window": 7}, "window 7 does not divide the grid of 24 patches"),
        ({"num_heads": 3}, "hidden_dim 128 is not a multiple of 3"),
        ({"decoder_dims": (64, 24)}, r"decoder_dims \[64, 24\] are not multiples of 16"),
        ({"pooling": 0}, "pooling 0 is too small"),
        ({"embed_kernel": 6}, "embed_kernel 6 is even"),
        ({"skip_dims": (8, 8, 8)}, r"skip_dims \[8, 8, 8\] has 3 entries: give two"),
        ({"max_classes": -1}, "max_classes -1 is too small"),
        ({"hiden_dim": 3}, "no setting 'hiden_dim': is 'hidden_dim' meant"),
        ({"template": "a photo"}, "template 'a photo' has 0 places for the name"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CatSegConfig(**settings)


def test_a_window_larger_than_the_grid_is_allowed() -> None:
    assert CatSegConfig(window=100).window == 100
