"""The regions of a label map as polygons.

A pixel in column x and row y covers [x, x + 1) x [y, y + 1), so the picture's corner is (0, 0) and
x grows to the right, y downwards. At tolerance 0 a polygon follows the sides of the pixels. Above,
corners of the border are cut at the middles of the pixels' sides first, which puts no pixel's
centre on another side and turns staircases into straight lines; then GEOS takes away corners whose
triangle with their neighbours has less than tolerance² pixels of area (Visvalingam and Whyatt).
The border between two regions is simplified once, so that neighbours neither overlap nor gape.

Every polygon is valid: regions that touch at a corner are two polygons, and a hole that touches the
outline does so at one point.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from escnet.annotations.regions import Regions

if TYPE_CHECKING:
    from shapely import Polygon

DEFAULT_TOLERANCE = 0.5  # pixels; a region of 400 pixels or more keeps an IoU of 0.99
_POLYGON = 3  # shapely's number of the type
_BESIDE_A_CENTRE = 0.3  # where to cut between two columns: pixels' centres are at a half


class TracedRegion(NamedTuple):
    """One connected region and its outline.

    Attributes:
        region: Its number among the regions that were traced.
        polygon: The outline, with holes.
        box_xyxy: The pixels' own box, whatever the tolerance, in corners of pixels.
    """

    region: int
    polygon: "Polygon"
    box_xyxy: tuple[int, int, int, int]


def trace_regions(regions: Regions, *, tolerance: float = DEFAULT_TOLERANCE) -> list[TracedRegion]:
    """The outline of every region of a label map, in the regions' own order.

    Args:
        regions: All of them, those without a name too, as they have borders in common.
        tolerance: How coarse outlines may be, in pixels; 0 is exact.
    """
    import shapely  # noqa: PLC0415 -- only where polygons are asked for

    if not regions.areas.size:
        return []
    border = _Border.of(regions.region_map)
    segments = border.smoothed() if tolerance > 0 else border.exact()
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(segments)))
    top = _topmost(*shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True))
    column, row = np.floor(top).astype(int).T  # the pixel below the topmost corner is inside
    region = regions.region_map[row, column]
    boxes = shapely.bounds(faces).astype(int).tolist()  # cut corners leave the middle of each side
    if tolerance > 0:
        faces = shapely.coverage_simplify(faces, tolerance, simplify_boundary=False)
    order = np.argsort(region)
    return [TracedRegion(int(region[face]), faces[face], tuple(boxes[face])) for face in order]


def without_holes(polygon: "Polygon") -> "list[Polygon]":
    """The polygon cut into valid pieces without holes, which cover the same pixels."""
    from shapely import get_parts, get_type_id, intersection  # noqa: PLC0415 -- as above
    from shapely.geometry import box  # noqa: PLC0415 -- as above

    if not polygon.interiors:
        return [polygon]
    holes = sorted((ring.bounds for ring in polygon.interiors), key=lambda b: b[0] + b[2])
    left, top, right, bottom = polygon.bounds
    if (x := _between(holes[len(holes) // 2], 0)) is not None:  # the middle one, so that few follow
        halves = box(left, top, x, bottom), box(x, top, right, bottom)
    elif (y := _between(holes[len(holes) // 2], 1)) is not None:
        halves = box(left, top, right, y), box(left, y, right, bottom)
    else:
        x = holes[len(holes) // 2][0] + _BESIDE_A_CENTRE
        halves = box(left, top, x, bottom), box(x, top, right, bottom)
    pieces: list[Polygon] = []
    for part in get_parts(intersection(polygon, halves)):
        if get_type_id(part) == _POLYGON:  # a cut may leave points and lines of no area
            pieces += without_holes(part)
    return pieces


def _between(bounds: tuple[float, float, float, float], axis: int) -> int | None:
    """A whole number inside the bounds along the axis, as near to the middle as there is."""
    low, high = bounds[axis], bounds[axis + 2]
    middle = round((low + high) / 2)
    return middle if low < middle < high else None


def _topmost(
    corners: Float[np.ndarray, "corners 2"], ring: Int[np.ndarray, " corners"]
) -> Float[np.ndarray, "rings 2"]:
    """Of each ring the leftmost of its topmost corners."""
    order = np.lexsort((corners[:, 0], corners[:, 1], ring))
    first = np.searchsorted(ring[order], np.arange(ring.max() + 1))
    return corners[order[first]]


class _Border(NamedTuple):
    """The sides of pixels between two regions, the picture's own edge among them.

    Corners of pixels are those between rows and columns: (H + 1) x (W + 1).
    """

    across: Bool[np.ndarray, "H+1 W"]  # between a pixel and the one above it
    down: Bool[np.ndarray, "H W+1"]  # between a pixel and the one to its left

    @classmethod
    def of(cls, region_map: Int[np.ndarray, "H W"]) -> "_Border":
        padded = np.pad(region_map, 1, constant_values=-1)
        return cls(padded[1:, 1:-1] != padded[:-1, 1:-1], padded[1:-1, 1:] != padded[1:-1, :-1])

    def exact(self) -> Float[np.ndarray, "segments 2 2"]:
        """Straight lines from corner to corner, as (x, y); none crosses or runs along another."""
        left, right, above, below = self._at_corners()
        row, first, last = _runs(self.across, above | below)
        along_rows = np.stack([first, row, last, row], axis=1)
        column, first, last = _runs(self.down.T, (left | right).T)
        along_columns = np.stack([column, first, column, last], axis=1)
        return np.concatenate([along_rows, along_columns]).reshape(-1, 2, 2).astype(np.float64)

    def smoothed(self) -> Float[np.ndarray, "segments 2 2"]:
        """The same with corners cut, but those where several borders meet and the picture's own."""
        left, right, above, below = self._at_corners()
        turns = (left ^ right) & (above ^ below)
        turns[[0, 0, -1, -1], [0, -1, 0, -1]] = False
        lines = self.exact()
        step = np.sign(lines[:, 1] - lines[:, 0]) / 2  # (segments, 2), half a pixel along the line
        for end, inwards in ((0, step), (1, -step)):
            column, row = lines[:, end].astype(int).T
            lines[:, end] += inwards * turns[row, column][:, None]
        lines = lines[(lines[:, 0] != lines[:, 1]).any(axis=1)]
        y, x = np.nonzero(turns)
        beside = x + np.where(left[y, x], -0.5, 0.5)
        over = y + np.where(above[y, x], -0.5, 0.5)
        cuts = np.stack([beside, y, x, over], axis=1).reshape(-1, 2, 2)
        return np.concatenate([lines, cuts])

    def _at_corners(self) -> tuple[Bool[np.ndarray, "_ _"], ...]:
        """Whether the border goes from each corner to the left, to the right, up, and down."""
        height, width = self.down.shape[0] + 1, self.down.shape[1]
        left, right, above, below = (np.zeros((height, width), dtype=bool) for _ in range(4))
        left[:, 1:] = right[:, :-1] = self.across
        above[1:] = below[:-1] = self.down
        return left, right, above, below


def _runs(
    sides: Bool[np.ndarray, "lines n"], is_met: Bool[np.ndarray, "lines n+1"]
) -> tuple[Int[np.ndarray, " runs"], Int[np.ndarray, " runs"], Int[np.ndarray, " runs"]]:
    """Line, first and last corner of each run of sides, cut where borders meet it."""
    starts, ends = sides.copy(), sides.copy()
    starts[:, 1:] &= ~sides[:, :-1] | is_met[:, 1:-1]
    ends[:, :-1] &= ~sides[:, 1:] | is_met[:, 1:-1]
    line, first = np.nonzero(starts)
    _, last = np.nonzero(ends)
    return line, first, last + 1
