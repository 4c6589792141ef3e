"""What one annotation covers, all of a name or one of its regions: as polygons, or as a mask.

Pixels without a name are never covered.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt

from escnet.annotations.format import FormatOptions, PictureResult
from escnet.annotations.polygons import trace_regions
from escnet.annotations.regions import connected_regions

if TYPE_CHECKING:
    from shapely import Polygon


class TracedShape(NamedTuple):
    """Polygons that belong together.

    Attributes:
        label: Index of the name.
        polygons: The outlines, with holes.
        area: In pixels, whatever the tolerance.
        box_xyxy: Around the pixels, in corners of pixels.
        score: Mean confidence of the pixels.
    """

    label: int
    polygons: "list[Polygon]"
    area: int
    box_xyxy: tuple[int, int, int, int]
    score: float


class MaskedShape(NamedTuple):
    """Pixels that belong together, with the index of their name and their mean confidence."""

    label: int
    mask: Bool[np.ndarray, "H W"]
    score: float


def traced_shapes(result: PictureResult, options: FormatOptions) -> list[TracedShape]:
    """The outlines of all names, by index, then from top to bottom."""
    regions = connected_regions(result.label_map)
    totals = _totals(regions.region_map, result.confidence)
    group = regions.labels if options.per == "name" else np.arange(len(regions.labels))
    groups: dict[tuple[int, int], list[int]] = {}
    traced = trace_regions(regions, tolerance=options.tolerance)
    for region in np.argsort(regions.labels, kind="stable").tolist():
        if regions.labels[region] < len(result.names):
            key = (int(regions.labels[region]), int(group[region]))
            groups.setdefault(key, []).append(region)
    shapes = []
    for (label, _), members in groups.items():
        boxes = np.array([traced[region].box_xyxy for region in members])
        area = int(regions.areas[members].sum())
        left, top = boxes[:, :2].min(axis=0).tolist()
        right, bottom = boxes[:, 2:].max(axis=0).tolist()
        polygons = [traced[region].polygon for region in members]
        score = round(float(totals[members].sum()) / area, 4)
        shapes.append(TracedShape(label, polygons, area, (left, top, right, bottom), score))
    return shapes


def masked_shapes(result: PictureResult, options: FormatOptions) -> Iterator[MaskedShape]:
    """The pixels of all names, by index, then from top to bottom."""
    if options.per == "name":
        yield from name_masks(result)
        return
    regions = connected_regions(result.label_map)
    scores = _totals(regions.region_map, result.confidence) / np.maximum(regions.areas, 1)
    for region in np.argsort(regions.labels, kind="stable").tolist():
        label = int(regions.labels[region])
        if label < len(result.names):
            yield MaskedShape(label, regions.region_map == region, round(float(scores[region]), 4))


def name_masks(result: PictureResult) -> Iterator[MaskedShape]:
    """The pixels of each name that has some, by index."""
    for label in present_labels(result.label_map, len(result.names)):
        mask = result.label_map == label
        yield MaskedShape(label, mask, round(float(result.confidence[mask].mean()), 4))


def present_labels(label_map: UInt[np.ndarray, "H W"], num_names: int) -> list[int]:
    """Indices of the names that have pixels."""
    present = np.unique(label_map)
    return present[present < num_names].tolist()


def _totals(
    region_map: Int[np.ndarray, "H W"], confidence: Float[np.ndarray, "H W"]
) -> Float[np.ndarray, " R"]:
    return np.bincount(region_map.ravel(), weights=confidence.ravel().astype(np.float64))
