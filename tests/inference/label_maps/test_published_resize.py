"""The steps of the published resize, against PIL and torch used by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from escnet.inference.label_maps.published_resize import (
    as_bytes,
    square,
    square_image,
    squeezed,
    to_short_side,
)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)


def test_the_short_side_is_reached_from_both_directions(picture: np.ndarray) -> None:
    smaller = to_short_side(picture, 20, may_grow=True)
    expected = Image.fromarray(picture).resize((30, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(smaller, np.asarray(expected))
    assert to_short_side(picture, 61, may_grow=True).shape == (61, 92, 3)  # 91.5 is rounded up


def test_a_small_picture_may_stay_as_it_is(picture: np.ndarray) -> None:
    assert to_short_side(picture, 61, may_grow=False) is picture


def test_the_long_side_has_a_limit() -> None:
    strip = np.zeros((10, 100, 3), np.uint8)
    assert to_short_side(strip, 10, may_grow=True).shape == (4, 40, 3)


def test_a_picture_is_squeezed_without_smoothing() -> None:
    # From 4 pixels to 2 each new one lies between two old ones; smoothing would take all four.
    row = np.array([0, 100, 40, 60], np.uint8)
    pixels = np.broadcast_to(row[None, :, None], (4, 4, 3)).copy()
    assert (squeezed(pixels, 2) == np.full((3, 2, 2), 50.0)).all()
    assert square(pixels, 2).tolist() == [[[50] * 3] * 2] * 2


def test_steps_are_not_one(picture: np.ndarray) -> None:
    assert not np.allclose(squeezed(picture, 40, 16), squeezed(picture, 16))


def test_no_step_rounds_to_bytes(picture: np.ndarray) -> None:
    image = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
    canvas = F.interpolate(image, size=(40, 40), mode="bilinear", align_corners=False)
    window = F.interpolate(canvas[..., :24, :24], size=(20, 20), mode="bilinear")
    view = square(picture, 40)[:24, :24]
    np.testing.assert_allclose(square_image(view, 20), window[0] / 255, atol=1e-6)
    rounded = square_image(as_bytes(view).astype(np.float32), 20)
    assert np.abs(rounded - window[0].numpy() / 255).max() > 1e-3


def test_a_view_in_whole_numbers_is_the_nearest_bytes() -> None:
    view = np.array([[[-0.4, 0.6, 255.3]]], np.float32)
    assert as_bytes(view).tolist() == [[[0, 1, 255]]]
    pixels = as_bytes(view)
    assert as_bytes(pixels) is pixels
