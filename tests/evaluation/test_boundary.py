import numpy as np
import pytest
import torch
import torch.nn.functional as F

from escnet.evaluation.boundary import band_distance, boundary_counts, label_bands


def drawn(rows: str) -> np.ndarray:
    return np.array([[int(digit) for digit in row] for row in rows.split()])


def test_the_band_of_a_drawn_label_map() -> None:
    label_map = drawn("""
        0000000
        0000000
        0000011
        0000011
        0000011
    """)
    band = drawn("""
        1111111
        1000111
        1000111
        1000111
        1111111
    """)
    np.testing.assert_array_equal(label_bands(label_map, 1), band.astype(bool))


def test_a_picture_narrower_than_two_bands_is_all_band() -> None:
    assert label_bands(np.zeros((4, 9), int), 2).all()
    assert label_bands(np.zeros((1, 9), int), 1).all()
    assert not label_bands(np.zeros((5, 9), int), 2)[2, 2:7].any()


@pytest.mark.parametrize(("size_hw", "distance"), [((480, 640), 16), ((3, 4), 1), ((30, 40), 1)])
def test_the_band_is_two_hundredths_of_the_diagonal_wide(
    size_hw: tuple[int, int], distance: int
) -> None:
    assert band_distance(size_hw) == distance


def counts_by_definition(
    truth: np.ndarray, prediction: np.ndarray, label: int, ignore_label: int
) -> tuple[int, int]:
    """Masks, each less its erosion by a square, one class at a time."""
    distance = band_distance(truth.shape)

    def band(mask: np.ndarray) -> torch.Tensor:
        inside = torch.from_numpy(mask).float()[None, None]
        padded = F.pad(inside, [distance] * 4)  # beyond the edge is outside
        eroded = 1 - F.max_pool2d(1 - padded, 2 * distance + 1, stride=1)
        return (inside - eroded)[0, 0] > 0

    true = band(truth == label)
    found = band((prediction == label) & (truth != ignore_label))
    return int((true & found).sum()), int((true | found).sum())


@pytest.mark.parametrize("size_hw", [(60, 91), (7, 140), (120, 40)])
def test_the_counts_agree_with_their_definition_class_by_class(size_hw: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(5, size=(6, 8))
    truth = np.kron(coarse, np.ones((20, 20), int))[: size_hw[0], : size_hw[1]]
    prediction = np.roll(truth, (3, -2), (0, 1))
    truth[truth == 4] = 255
    both, either = boundary_counts(truth, prediction, num_classes=5, ignore_label=255)
    for label in range(5):
        expected = counts_by_definition(truth, prediction, label, 255)
        assert (both[label], either[label]) == expected
    assert either.any()


def test_what_is_said_where_the_truth_is_ignored_moves_nothing() -> None:
    truth = np.full((20, 20), 1)
    truth[5:12, 5:12] = 255
    prediction = np.ones((20, 20), int)
    plain = boundary_counts(truth, prediction, num_classes=2, ignore_label=255)
    prediction[6:9, 6:9] = 0
    np.testing.assert_array_equal(
        plain, boundary_counts(truth, prediction, num_classes=2, ignore_label=255)
    )
    assert plain[0][1] == plain[1][1] > 0
