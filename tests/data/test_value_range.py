import numpy as np
import pytest

from escnet.data.value_range import ValueRange, range_of, to_bytes
from escnet.errors import ImageError


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (0, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095),
        (4096, 16_383), (10_000, 16_383), (16_384, 65_535), (65_535, 65_535),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_the_range_is_the_least_usual_one_that_holds_the_largest_value(
    largest: int, expected: int, dtype: type
) -> None:
    values: np.ndarray = np.array([[0, largest // 2, largest]], dtype)
    if dtype is np.float32 and largest == 0:
        expected = 1
    assert range_of(values) == (0, expected)


def test_fractions_of_one_go_from_0_to_1() -> None:
    assert range_of(np.array([[0.1, 0.9]])) == (0, 1)


def test_a_reflectance_goes_up_to_its_largest_value() -> None:
    assert range_of(np.array([[0.1, 1.1]])) == (0, 1.1)
    assert range_of(np.array([[0.1, 2.1]])) == (0, 255)
    assert range_of(np.array([[0, 2]])) == (0, 255)  # whole numbers are no fractions


def test_negative_and_larger_values_are_stretched() -> None:
    assert range_of(np.array([[-3, 4000]])) == (-3, 4000)
    assert range_of(np.array([[10, 70_000]])) == (10, 70_000)


def test_what_is_not_finite_does_not_count() -> None:
    assert range_of(np.array([[np.nan, np.inf, -np.inf, 300.0]])) == (0, 1023)
    assert range_of(np.array([[np.nan]])) == (0, 1)


def test_a_depth_takes_the_place_of_the_rule() -> None:
    assert range_of(np.array([[-5, 70_000]]), 12) == (0, 4095)
    for depth in (7, 33):
        with pytest.raises(ImageError, match=rf"depth {depth} is no number of bits: give 8 to 32"):
            range_of(np.zeros((1, 1)), depth)


def test_values_become_bytes_by_hand() -> None:
    values = np.array([[0, 8, 9, 2048, 4095]], np.uint16)
    # 8 x 255 / 4095 is 0.498, 9 x 255 / 4095 is 0.560, 2048 x 255 / 4095 is 127.53
    assert to_bytes(values, ValueRange(0, 4095)).tolist() == [[0, 0, 1, 128, 255]]
    assert to_bytes(values, ValueRange(0, 255))[0, 3:].tolist() == [255, 255]


def test_a_range_without_width_is_black() -> None:
    assert to_bytes(np.full((1, 2), -4), ValueRange(-4, -4)).tolist() == [[0, 0]]
