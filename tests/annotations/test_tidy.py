import numpy as np
import pytest

from escnet.annotations.regions import connected_regions
from escnet.annotations.tidy import fill_holes, merge_small_regions


def test_a_speck_goes_to_the_neighbour_with_the_longest_border() -> None:
    label_map = np.array([[0, 0, 1], [0, 2, 1], [1, 1, 1]], np.uint8)  # 2 borders 0 twice, 1 twice
    assert merge_small_regions(label_map, min_area=2)[1, 1] == 0  # the smaller of equal ones
    label_map[0, 1] = 1
    assert merge_small_regions(label_map, min_area=2)[1, 1] == 1


def test_borders_with_several_regions_of_a_name_add_up() -> None:
    label_map = np.array([[0, 0, 0, 0, 0], [1, 1, 2, 1, 1], [0, 0, 3, 3, 3]], np.uint8)
    assert merge_small_regions(label_map, min_area=2)[1].tolist() == [1, 1, 1, 1, 1]


def test_the_smallest_goes_first_and_what_it_grows_counts() -> None:
    # the 2 joins the 1s, which are large enough by then
    tidy = merge_small_regions(np.array([[0, 0, 0, 1, 1, 2, 1, 1]], np.uint8), min_area=3)
    assert tidy.tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize("min_area", [2, 9, 60, 10_000])
def test_no_region_of_noise_stays_too_small(min_area: int) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (30, 41)).astype(np.uint8)
    tidy = merge_small_regions(noise, min_area=min_area)
    areas = connected_regions(tidy).areas
    assert areas.min() >= min_area or len(areas) == 1
    large = connected_regions(noise)
    kept = large.areas[large.region_map] >= max(min_area, large.areas.max())
    np.testing.assert_array_equal(tidy[kept], noise[kept])


def test_nothing_small_leaves_a_copy() -> None:
    label_map = np.zeros((3, 3), np.uint16)
    tidy = merge_small_regions(label_map, min_area=1000)
    assert tidy is not label_map
    assert tidy.dtype == np.uint16
    np.testing.assert_array_equal(tidy, label_map)


def hole() -> np.ndarray:
    label_map = np.zeros((6, 6), np.uint8)
    label_map[1:5, 1:5] = 1
    label_map[2, 2:4] = [2, 3]  # a hole of two names
    return label_map


def test_a_hole_of_several_names_is_filled_as_one() -> None:
    assert fill_holes(hole(), max_area=1).tolist() == hole().tolist()
    filled = fill_holes(hole(), max_area=2)
    assert filled[2].tolist() == [0, 1, 1, 1, 1, 0]


def test_what_touches_the_edge_is_no_hole() -> None:
    label_map = np.zeros((4, 4), np.uint8)
    label_map[0, 1] = 1
    assert fill_holes(label_map, max_area=9).tolist() == label_map.tolist()


def test_an_island_inside_a_hole_goes_with_it() -> None:
    assert set(np.unique(fill_holes(hole(), max_area=16))) == {0}


def test_no_hole_is_filled_unless_asked() -> None:
    assert fill_holes(hole(), max_area=0).tolist() == hole().tolist()
