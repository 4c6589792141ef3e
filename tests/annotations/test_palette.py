import numpy as np
import pytest

from escnet.annotations import palette
from escnet.annotations.palette import MAX_NAMES, VOID_COLOUR, class_colours, name_colours
from escnet.vocabulary import MAX_LABELS

# what is left of linear RGB without red, without green cones (Machado et al. 2009, full severity)
COLOUR_VISIONS = {
    "usual": np.eye(3),
    "without red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "without green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def oklab(srgb: np.ndarray, vision: np.ndarray) -> np.ndarray:
    share = srgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = (linear @ vision.T).clip(0, 1)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(seen @ to_cones.T) @ to_lab.T


@pytest.mark.parametrize(
    ("vision", "least"), [("usual", 0.1), ("without red", 0.06), ("without green", 0.06)]
)
def test_the_first_24_colours_differ_to_every_eye(vision: str, least: float) -> None:
    # 0.02 is about the smallest step that is seen side by side
    lab = oklab(class_colours(24), COLOUR_VISIONS[vision])
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distance[~np.eye(24, dtype=bool)].min() > least


def test_all_colours_are_different_and_none_is_that_of_void() -> None:
    colours = class_colours(MAX_NAMES)
    assert colours.shape == (MAX_NAMES, 3) == (MAX_LABELS + 1, 3)  # the background has one, too
    with_void = np.concatenate([colours, np.array([VOID_COLOUR], dtype=np.uint8)])
    assert len(np.unique(with_void, axis=0)) == MAX_NAMES + 1


def test_more_names_do_not_change_earlier_colours() -> None:
    np.testing.assert_array_equal(class_colours(300)[:40], class_colours(40))


def test_changing_the_returned_colours_does_not_change_later_ones() -> None:
    first = class_colours(3)
    first[:] = 0
    assert class_colours(3).any()


def test_the_palette_is_the_one_that_files_of_earlier_versions_have() -> None:
    colours = class_colours(1000)
    assert colours[0].tolist() == [45, 165, 210]
    assert colours[23].tolist() == [180, 45, 150]
    assert colours[24].tolist() == [82, 89, 16]
    assert colours[999].tolist() == [131, 40, 69]


def test_names_get_the_colours_of_what_they_are() -> None:
    sky, grass, person, road, water = name_colours(
        ["sky", "grass", "person", "road", "water"]
    ).astype(int)
    assert sky[2] == sky.max()  # blue
    assert water[2] == water.max()
    assert grass[1] == grass.max()  # green
    assert person[0] > 2 * person[1:].max()  # red
    assert np.ptp(road) < 20  # grey


@pytest.mark.parametrize(
    ("one", "other"), [("cup", "table"), ("background", "road"), ("background", "wall")]
)
def test_names_that_often_touch_are_far_apart_in_an_overlay(one: str, other: str) -> None:
    first, second = oklab(name_colours([one, other]), COLOUR_VISIONS["usual"])
    assert np.linalg.norm(first - second) > 0.1


def test_a_name_s_last_word_decides_if_the_whole_is_not_known() -> None:
    np.testing.assert_array_equal(name_colours(["wooden table"]), name_colours(["table"]))
    np.testing.assert_array_equal(name_colours(["Traffic_Light"]), name_colours(["traffic light"]))


@pytest.mark.parametrize(
    "names",
    [
        ["tree", "forest", "trees", "vegetation", "wood", "sky", "cloudy sky", "x", "y"],
        [f"thing {index}" for index in range(300)],
        ["", " ", "\udc80", "道路", "🚲"],
    ],
)
def test_all_names_can_be_told_apart(names: list[str]) -> None:
    colours = name_colours(names)
    assert len({tuple(colour) for colour in colours.tolist()}) == len(names)
    oklab = palette._to_oklab(colours)
    apart = np.linalg.norm(oklab[:, None] - oklab[None], axis=2) + np.eye(len(names))
    assert apart.min() > (0.05 if len(names) < 20 else 0.02)


def test_the_same_names_have_the_same_colours_and_no_caller_can_change_them() -> None:
    name_colours(["sky", "x"])[:] = 0
    assert name_colours(["sky", "x"]).any()


def test_as_many_names_as_there_can_be_have_colours_that_differ() -> None:
    colours = name_colours([f"n{index}" for index in range(MAX_NAMES)])
    code = colours.astype(np.int64) @ np.array([65536, 256, 1])
    assert np.unique(code).size == MAX_NAMES
