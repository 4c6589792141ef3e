from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from escnet.annotations.polygons import trace_regions, without_holes
from escnet.annotations.regions import connected_regions

DEV = Path(__file__).parents[3] / "shared" / "data" / "dev"


def noise(num_names: int, shape: tuple[int, int] = (40, 51)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, num_names, shape).astype(np.uint8)


def rasterised(polygon: shapely.Polygon, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5  # the pixels' centres
    return shapely.contains_xy(polygon, x, y)


def test_a_region_with_a_hole_is_traced_along_the_sides_of_its_pixels() -> None:
    label_map = np.zeros((3, 4), np.uint8)
    label_map[1, 1] = 1
    around, inside = trace_regions(connected_regions(label_map), tolerance=0.0)
    assert inside.polygon.equals(shapely.box(1, 1, 2, 2))
    assert around.polygon.equals(shapely.box(0, 0, 4, 3) - shapely.box(1, 1, 2, 2))
    assert (around.box_xyxy, inside.box_xyxy) == ((0, 0, 4, 3), (1, 1, 2, 2))


def test_pixels_that_touch_at_a_corner_are_two_valid_polygons() -> None:
    traced = trace_regions(connected_regions(np.array([[0, 1], [1, 0]], np.uint8)), tolerance=0.0)
    assert [region.polygon.area for region in traced] == [1, 1, 1, 1]


def test_a_hole_that_touches_the_outline_at_a_corner_is_valid() -> None:
    label_map = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1]], np.uint8)
    traced = trace_regions(connected_regions(label_map), tolerance=0.0)
    assert all(region.polygon.is_valid for region in traced)
    assert traced[0].polygon.area == (label_map == 0).sum()


@pytest.mark.parametrize("num_names", [1, 2, 3, 9])
def test_at_tolerance_0_every_pixel_lies_in_its_own_region_s_polygon(num_names: int) -> None:
    regions = connected_regions(noise(num_names))
    traced = trace_regions(regions, tolerance=0.0)
    assert [region.region for region in traced] == list(range(len(regions.areas)))
    for region in traced:
        assert region.polygon.is_valid
        assert region.polygon.area == regions.areas[region.region]
        mask = regions.region_map == region.region
        np.testing.assert_array_equal(rasterised(region.polygon, mask.shape), mask)


@pytest.mark.parametrize("tolerance", [0.1, 0.5, 1.0, 3.0, 50.0])
def test_simplified_neighbours_neither_overlap_nor_gape(tolerance: float) -> None:
    label_map = noise(3)
    regions = connected_regions(label_map)
    traced = trace_regions(regions, tolerance=tolerance)
    polygons = np.array([region.polygon for region in traced])
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == pytest.approx(label_map.size)
    exact = [region.box_xyxy for region in trace_regions(regions, tolerance=0.0)]
    assert [region.box_xyxy for region in traced] == exact


def test_a_tiny_tolerance_cuts_corners_and_moves_no_pixel() -> None:
    regions = connected_regions(noise(3))
    for region in trace_regions(regions, tolerance=1e-9):
        mask = regions.region_map == region.region
        np.testing.assert_array_equal(rasterised(region.polygon, mask.shape), mask)


def test_a_diagonal_staircase_becomes_a_line() -> None:
    label_map = np.tri(40, dtype=np.uint8)
    exact, simple = (
        sum(
            len(r.polygon.exterior.coords)
            for r in trace_regions(connected_regions(label_map), tolerance=t)
        )
        for t in (0.0, 0.5)
    )
    assert exact > 150
    assert simple < 20


def test_large_regions_of_real_pictures_keep_their_iou_at_the_default_tolerance() -> None:
    if not DEV.is_dir():
        pytest.skip("../shared/data/dev is not here")
    paths = sorted((DEV / "masks").glob("*.png"))[::60]
    assert paths
    for path in paths:
        regions = connected_regions(np.array(Image.open(path)))
        for region in trace_regions(regions):
            if regions.areas[region.region] >= 400:
                mask = regions.region_map == region.region
                found = rasterised(region.polygon, mask.shape)
                assert (found & mask).sum() / (found | mask).sum() >= 0.99


@pytest.mark.parametrize("tolerance", [0.0, 0.5, 2.0])
def test_pieces_without_holes_cover_the_same_pixels(tolerance: float) -> None:
    label_map = noise(2)
    had_holes = 0
    for region in trace_regions(connected_regions(label_map), tolerance=tolerance):
        pieces = without_holes(region.polygon)
        had_holes += len(pieces) > 1
        assert all(piece.is_valid and not piece.interiors for piece in pieces)
        assert sum(piece.area for piece in pieces) == pytest.approx(region.polygon.area)
        if tolerance == 0:
            covered = sum(rasterised(piece, label_map.shape).astype(int) for piece in pieces)
            np.testing.assert_array_equal(covered, rasterised(region.polygon, label_map.shape))
    assert had_holes


def test_a_polygon_without_holes_stays_whole() -> None:
    square = shapely.box(0, 0, 3, 3)
    assert without_holes(square) == [square]


def test_an_empty_label_map_has_no_outlines() -> None:
    assert trace_regions(connected_regions(np.zeros((0, 4), np.uint8))) == []
