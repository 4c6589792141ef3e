import numpy as np
import pytest

from escnet.annotations.regions import connected_regions, shared_borders


def test_regions_are_numbered_as_they_are_read_and_corners_do_not_connect() -> None:
    regions = connected_regions(np.array([[0, 0, 1], [2, 1, 1], [0, 2, 0]], np.uint8))
    assert regions.region_map.tolist() == [[0, 0, 1], [2, 1, 1], [3, 4, 5]]
    assert regions.labels.tolist() == [0, 1, 2, 0, 2, 0]
    assert regions.areas.tolist() == [2, 3, 1, 1, 1, 1]


def test_a_spiral_is_one_region() -> None:
    spiral = np.array(
        [
            [1, 1, 1, 1, 1],
            [0, 0, 0, 0, 1],
            [1, 1, 1, 0, 1],
            [1, 0, 0, 0, 1],
            [1, 1, 1, 1, 1],
        ],
        np.uint8,
    )
    assert sorted(connected_regions(spiral).areas.tolist()) == [8, 17]


def flooded(label_map: np.ndarray) -> np.ndarray:
    """The same regions by flooding from each pixel in turn."""
    found = np.full(label_map.shape, -1)
    for start in np.ndindex(label_map.shape):
        if found[start] >= 0:
            continue
        number, waiting = found.max() + 1, [start]
        found[start] = number
        while waiting:
            y, x = waiting.pop()
            for spot in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= spot[0] < label_map.shape[0] and 0 <= spot[1] < label_map.shape[1]
                if inside and found[spot] < 0 and label_map[spot] == label_map[start]:
                    found[spot] = number
                    waiting.append(spot)
    return found


@pytest.mark.parametrize("num_names", [2, 3, 300])
def test_regions_of_noise_are_those_of_flooding(num_names: int) -> None:
    noise = np.random.default_rng(0).integers(0, num_names, (23, 31)).astype(np.uint16)
    np.testing.assert_array_equal(connected_regions(noise).region_map, flooded(noise))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_one_row_or_column_has_regions_too(shape: tuple[int, int]) -> None:
    assert connected_regions(np.zeros(shape, np.uint8)).areas.tolist() == [max(shape)]


def test_an_empty_label_map_has_none() -> None:
    assert connected_regions(np.zeros((0, 3), np.uint8)).areas.size == 0


def test_borders_are_counted_in_sides_of_pixels() -> None:
    pairs, lengths = shared_borders(np.array([[0, 0, 1], [2, 2, 1]]))
    assert dict(zip(map(tuple, pairs.tolist()), lengths.tolist(), strict=True)) == {
        (0, 1): 1,
        (0, 2): 2,
        (1, 2): 1,
    }
