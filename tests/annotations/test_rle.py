import numpy as np
import pytest

from escnet.annotations.rle import brush_rle, coco_rle


def test_coco_s_run_lengths_go_down_the_columns() -> None:
    # down the columns 0 1, 1 1, 1 0: one zero, four ones, one zero
    mask = np.array([[0, 1, 1], [1, 1, 0]], dtype=bool)
    assert coco_rle(mask) == {"size": [2, 3], "counts": "141"}


def read_bits(packed: list[int]) -> tuple[np.ndarray, int]:
    """Label Studio's format, read as its page describes it."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    spot = 0

    def take(width: int) -> int:
        nonlocal spot
        spot += width
        return int(bits[spot - width : spot], 2)

    num_values, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < num_values:
        is_run = take(1)
        length = take(sizes[take(2)]) + 1
        values += [take(word)] * length if is_run else [take(word) for _ in range(length)]
    return np.array(values, dtype=np.uint8), num_values


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 40_000)])
def test_a_brush_s_run_lengths_hold_four_channels_of_0_and_255(shape: tuple[int, int]) -> None:
    masks = (np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool))
    for mask in (*masks, np.random.default_rng(0).random(shape) < 0.5):
        values, num_values = read_bits(brush_rle(mask))
        assert num_values == 4 * mask.size
        expected = np.repeat(mask.ravel()[:, None] * 255, 4, axis=1)
        np.testing.assert_array_equal(values.reshape(-1, 4), expected)
