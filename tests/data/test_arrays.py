from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.data.arrays import pixel_values
from escnet.data.image import read_any, read_image
from escnet.errors import ImageError

RGB = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)


def test_bytes_with_their_channels_last_are_not_copied() -> None:
    assert pixel_values(RGB) is RGB


@pytest.mark.parametrize("channels", [None, "first"])
def test_a_tensor_has_its_channels_first(channels: str | None) -> None:
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)
    np.testing.assert_array_equal(pixel_values(tensor, channels), RGB)


def test_the_other_order_is_read_where_it_is_stated() -> None:
    np.testing.assert_array_equal(pixel_values(np.moveaxis(RGB, -1, 0), "first"), RGB)
    np.testing.assert_array_equal(pixel_values(torch.from_numpy(RGB), "last"), RGB)


FRACTIONS = np.linspace(0, 1, 7 * 5 * 3).reshape(7, 5, 3)


@pytest.mark.parametrize(
    ("values", "high"),
    [
        (np.rint(FRACTIONS * 65_535).astype(np.uint16), 65_535),
        (np.rint(FRACTIONS * 4095).astype(np.uint16), 4095),  # 12 bits in 16
        (np.rint(FRACTIONS * 255).astype(np.int64), 255),
        (FRACTIONS, 1),
        (FRACTIONS.astype(np.float32) * 255, 255),
        (FRACTIONS.astype(np.float32) * np.float32(1.2), 1.2),  # a reflectance
        (torch.tensor(FRACTIONS * 4095).permute(2, 0, 1), 4095),
    ],
)
def test_whole_numbers_and_floats_follow_one_rule_that_the_result_states(
    values: "np.ndarray | torch.Tensor", high: float
) -> None:
    read = read_any(values)
    assert read.as_settings()["value_range"] == pytest.approx([0, high])
    difference = read.pixels.astype(int) - np.rint(FRACTIONS * 255)
    assert np.abs(difference).max() <= 1


def test_an_array_is_read_as_a_file_of_the_same_values(tmp_path: Path) -> None:
    values = np.array([[0, 100, 4000], [1, 2, 3]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(values), read_image(tmp_path / "a.png"))
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        read_image(values.astype(np.float32)), read_image(tmp_path / "a.tif")
    )


def test_a_depth_takes_the_place_of_the_rule_in_arrays_too() -> None:
    values = np.full((2, 2), 4095, np.uint16)
    assert read_any(values, depth=16).as_settings()["value_range"] == [0, 65_535]
    assert read_image(values, depth=16).max() == 16
    with pytest.raises(ImageError, match="depth 3 is no number of bits"):
        read_image(values, depth=3)


def test_the_opacity_has_no_say_in_the_range() -> None:
    values = np.full((2, 2, 4), 4095, np.uint16)
    values[:, :, 3] = 65_535  # opaque
    assert read_image(values).tolist() == [[[255] * 3] * 2] * 2


def test_sixteen_bits_go_to_the_nearest_byte() -> None:
    values = np.array([[0, 128, 129, 257, 65_535]], np.uint16)
    assert read_image(values)[:, :, 0].tolist() == [[0, 0, 1, 1, 255]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_from_0_to_1_become_bytes(dtype: torch.dtype) -> None:
    values = torch.tensor([[0.0, 0.5, 1.0]], dtype=dtype)
    assert read_image(values)[:, :, 0].tolist() == [[0, 128, 255]]


def test_a_tensor_that_takes_gradients_is_read() -> None:
    values = torch.ones(2, 2, requires_grad=True)
    assert read_image(values)[:, :, 0].tolist() == [[255, 255]] * 2


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_grey_may_have_an_axis_for_its_channel(shape: tuple[int, ...]) -> None:
    assert pixel_values(np.zeros(shape, np.uint8)).shape == (6, 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2), -0.1), "from -0.1 to -0.1: give floats from 0 to 1 or whole numbers"),
        (np.full((2, 2), -1), "of int64 holds values from -1 to -1: give"),
        (np.full((2, 2), np.nan), "floats from 0 to 1 or whole numbers as uint8, before any mean"),
        (np.zeros((2, 2), bool), "dtype bool and shape (2, 2): give uint8"),
        (np.zeros((2, 2), "U1"), "give uint8"),
        (np.zeros(4, np.uint8), "shape (4,): give (H, W), or (H, W, C)"),
        (np.zeros((2, 2, 2), np.uint8), "give (H, W), or (H, W, C) with 1, 3 or 4 channels"),
        (np.zeros((3, 6, 5), np.uint8), "seem to come first, so pass channels='first'"),
        (torch.zeros(6, 5, 3), "seem to come last, so pass channels='last'"),
        (
            np.zeros((2, 6, 5, 3), np.uint8),
            "several pictures, so give one, or each to",
        ),
    ],
)
def test_what_is_no_picture_is_told_with_the_way_out(
    values: "np.ndarray | torch.Tensor", message: str
) -> None:
    with pytest.raises(ImageError) as caught:
        pixel_values(values)
    assert message in str(caught.value)


def test_a_place_of_channels_that_is_none_is_refused() -> None:
    with pytest.raises(ImageError, match="channels 'middle' are nowhere"):
        pixel_values(RGB, "middle")
