"""A picture and its label map, changed together."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from escnet.training.augmentation import PADDING, augmented, recoloured, scaled_size
from escnet.training.pictures_recipe import AugmentationSection

BEYOND = 250
PLAIN = {"flip": 0.0, "colour": 0.0}


def settings(**changes: object) -> AugmentationSection:
    return AugmentationSection.model_validate(
        {"short_side": (16, 16), "crop": 16, **PLAIN, **changes}
    )


def drawn(height: int = 30, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A label map of blocks, and a picture whose red says the label."""
    rows, columns = np.mgrid[0:height, 0:width]
    label_map = (rows // 10 * 4 + columns // 10).astype(np.uint8)
    return np.stack([label_map * 10, 255 - label_map * 10, 0 * label_map], axis=2), label_map


def test_labels_lie_where_their_pixels_lie() -> None:
    picture, label_map = drawn()
    for seed in range(20):
        pixels, labels = augmented(
            picture,
            label_map,
            settings(short_side=(30, 30), crop=20, flip=0.5),
            np.random.default_rng(seed),
            beyond=BEYOND,
        )
        assert pixels.shape == (20, 20, 3)
        np.testing.assert_array_equal(pixels[..., 0], labels * 10)


def test_a_scaled_picture_shows_its_labels_in_the_middle_of_every_block() -> None:
    picture, label_map = drawn()
    for short in (60, 15):
        pixels, labels = augmented(
            picture,
            label_map,
            settings(short_side=(short, short), crop=12),
            np.random.default_rng(1),
            beyond=BEYOND,
        )
        agreement = np.abs(pixels[..., 0].astype(int) - labels * 10) < 3
        assert agreement.mean() > 0.5  # but for the blurred edges of the blocks


def test_cutting_and_scaling_at_once_is_scaling_and_then_cutting() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    label_map = random.integers(0, 9, (37, 53), dtype=np.uint8)
    plan = settings(short_side=(25, 25), crop=20)
    pixels, labels = augmented(picture, label_map, plan, np.random.default_rng(5), beyond=BEYOND)
    size = (36, 25)  # 53 x 25 / 37 = 35.8
    whole = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    whole_labels = np.array(Image.fromarray(label_map).resize(size, Image.Resampling.NEAREST))
    starts = [
        (top, left)
        for top in range(6)
        for left in range(17)
        if (labels == whole_labels[top : top + 20, left : left + 20]).all()
    ]
    assert len(starts) == 1
    top, left = starts[0]
    cut = whole[top : top + 20, left : left + 20].astype(int)
    assert np.abs(cut - pixels).max() <= 1


def test_mirroring_turns_both_around() -> None:
    picture, label_map = drawn(16, 16)
    same = settings()
    plain = augmented(picture, label_map, same, np.random.default_rng(0), beyond=BEYOND)
    np.testing.assert_array_equal(plain[0], picture)
    np.testing.assert_array_equal(plain[1], label_map)
    turned = settings(flip=1.0)
    mirrored = augmented(picture, label_map, turned, np.random.default_rng(0), beyond=BEYOND)
    np.testing.assert_array_equal(mirrored[0], picture[:, ::-1])
    np.testing.assert_array_equal(mirrored[1], label_map[:, ::-1])


def test_beyond_a_small_picture_lie_grey_pixels_of_no_label() -> None:
    picture, label_map = drawn(10, 40)
    plan = settings(short_side=(10, 10), crop=16)
    pixels, labels = augmented(picture, label_map, plan, np.random.default_rng(0), beyond=BEYOND)
    assert (pixels[10:] == PADDING).all()
    assert (labels[10:] == BEYOND).all()
    assert (labels[:10] != BEYOND).all()


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        ((480, 640), (384, 512)),
        ((640, 427), (576, 384)),  # 575.5 rounds up
        ((100, 1000), (133, 1333)),  # the longer side binds
    ],
)
def test_the_size_after_scaling(size_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    assert scaled_size(size_hw, AugmentationSection(), np.random.default_rng(0)) == expected


def test_the_shorter_side_is_drawn_between_its_bounds() -> None:
    plan = settings(short_side=(20, 23))
    random = np.random.default_rng(0)
    assert {min(scaled_size((50, 80), plan, random)) for _ in range(100)} == {20, 21, 22, 23}


def only(**changes: object) -> AugmentationSection:
    """Every colour change happens, but all those not named change nothing."""
    nothing = {"brightness": 0, "contrast": (1, 1), "saturation": (1, 1), "hue": 0}
    return settings(**{**nothing, "colour": 1.0, **changes})


@pytest.mark.parametrize("change", [{}, {"brightness": 32}, {"contrast": (0.5, 1.5)}])
def test_brightness_adds_and_contrast_multiplies(change: dict[str, object]) -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    grey[0] = 10
    changed = [
        recoloured(grey, only(**change), np.random.default_rng(seed))[:, 0, 0].astype(float)
        for seed in range(300)
    ]
    dark, light = np.array(changed).T
    if not change:
        assert (light == 100).all()
        assert (dark == 10).all()
    elif "brightness" in change:
        assert 68 <= light.min() < 72
        assert 128 < light.max() <= 132
        unclipped = dark > 0
        assert (light - dark)[unclipped] == pytest.approx(90, abs=1)
    else:
        assert 50 <= light.min() < 54
        assert 146 < light.max() <= 150
        assert dark == pytest.approx(light / 10, abs=1)


def test_no_saturation_leaves_grey_of_the_brightest_channel() -> None:
    pixels = np.array([[[200, 100, 50]]], np.uint8)
    faded = recoloured(pixels, only(saturation=(0, 0)), np.random.default_rng(0))
    assert faded.tolist() == [[[200, 200, 200]]]


def test_hue_is_turned_by_at_most_its_angle_and_no_other_quality_changes() -> None:
    red = np.array([[[200, 40, 40]]], np.uint8)
    turned = []
    for seed in range(200):
        pixel = recoloured(red, only(hue=36), np.random.default_rng(seed))[0, 0] / 255
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        turned.append((hue + 0.5) % 1 * 360 - 180)
        assert saturation == pytest.approx(0.8, abs=0.03)
        assert value == pytest.approx(200 / 255, abs=0.02)
    assert -38 < min(turned) < -32
    assert 32 < max(turned) < 38


def test_each_colour_change_happens_every_other_time() -> None:
    grey = np.full((1, 1, 3), 100, np.uint8)
    plan = only(brightness=32, colour=0.5)
    unchanged = sum(
        int(recoloured(grey, plan, np.random.default_rng(seed))[0, 0, 0] == 100)
        for seed in range(400)
    )
    assert 160 < unchanged < 250


def test_equal_generators_give_equal_views_and_others_others() -> None:
    picture, label_map = drawn()
    plan = AugmentationSection(short_side=(20, 40), crop=16)
    views = [
        augmented(picture, label_map, plan, np.random.default_rng(seed), beyond=BEYOND)
        for seed in (7, 7, 8)
    ]
    np.testing.assert_array_equal(views[0][0], views[1][0])
    np.testing.assert_array_equal(views[0][1], views[1][1])
    assert (views[0][0] != views[2][0]).any()
