import numpy as np
import pytest
import torch

from escnet.data.arrays import to_rgb_bytes
from escnet.errors import ImageError

RGB = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)


def test_bytes_with_their_channels_last_are_not_copied() -> None:
    assert to_rgb_bytes(RGB) is RGB


@pytest.mark.parametrize("channels", [None, "first"])
def test_a_tensor_has_its_channels_first(channels: str | None) -> None:
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)
    np.testing.assert_array_equal(to_rgb_bytes(tensor, channels), RGB)


def test_the_other_order_is_read_where_it_is_stated() -> None:
    np.testing.assert_array_equal(to_rgb_bytes(np.moveaxis(RGB, -1, 0), "first"), RGB)
    np.testing.assert_array_equal(to_rgb_bytes(torch.from_numpy(RGB), "last"), RGB)


def test_sixteen_bits_go_to_the_nearest_byte() -> None:
    values = np.array([[0, 128, 129, 257, 65_535]], np.uint16)
    assert to_rgb_bytes(values).tolist() == [[0, 0, 1, 1, 255]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_from_0_to_1_become_bytes(dtype: torch.dtype) -> None:
    values = torch.tensor([[0.0, 0.5, 1.0]], dtype=dtype)
    assert to_rgb_bytes(values).tolist() == [[0, 128, 255]]


def test_a_tensor_that_takes_gradients_is_read() -> None:
    assert to_rgb_bytes(torch.ones(2, 2, requires_grad=True)).tolist() == [[255, 255]] * 2


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_grey_may_have_an_axis_for_its_channel(shape: tuple[int, ...]) -> None:
    assert to_rgb_bytes(np.zeros(shape, np.uint8)).shape == (6, 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2), 1.5), "holds values from 1.5 to 1.5: give floats from 0 to 1"),
        (np.full((2, 2), -0.1), "give floats from 0 to 1"),
        (np.full((2, 2), np.nan), "give floats from 0 to 1"),
        (np.zeros((2, 2), bool), "dtype bool and shape (2, 2): give uint8"),
        (np.zeros((2, 2), np.int64), "dtype int64 and shape (2, 2): give uint8"),
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
        to_rgb_bytes(values)
    assert message in str(caught.value)


def test_a_place_of_channels_that_is_none_is_refused() -> None:
    with pytest.raises(ImageError, match="channels 'middle' are nowhere"):
        to_rgb_bytes(RGB, "middle")
