"""Label maps without specks and without small holes.

Both functions look at the label map alone. Pixels without a name count like those of a name: a
speck of them is given away, and a speck among them becomes one of them.
"""

from collections import defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

import numpy as np
from jaxtyping import UInt

from escnet.annotations.regions import connected_regions, shared_borders


def merge_small_regions(
    label_map: UInt[np.ndarray, "H W"], *, min_area: int
) -> UInt[np.ndarray, "H W"]:
    """A label map in which no region is smaller than `min_area` pixels, unless it is the only one.

    The smallest region is given away first, to the value that it shares the longest border with
    (of equal borders, to the smaller value); the regions of this value that it touches become one.

    Args:
        label_map: Indices of names, or the value of pixels without one.
        min_area: In pixels; 0 or 1 changes nothing.
    """
    regions = connected_regions(label_map)
    small = np.flatnonzero(regions.areas < min_area)
    if not small.size or len(regions.areas) == 1:
        return label_map.copy()
    graph = _RegionGraph(regions.labels.tolist(), regions.areas.tolist())
    graph.add_borders(*shared_borders(regions.region_map))
    graph.give_away(small.tolist(), min_area)
    return graph.labels_of_regions(label_map.dtype)[regions.region_map]


def fill_holes(label_map: UInt[np.ndarray, "H W"], *, max_area: int) -> UInt[np.ndarray, "H W"]:
    """A label map in which what lies wholly inside one name belongs to it, if it is small.

    A hole may hold several names; it does not touch the picture's edge.

    Args:
        label_map: Indices of names, or the value of pixels without one.
        max_area: The largest hole that is filled, in pixels; 0 fills none.
    """
    filled = label_map.copy()
    if max_area < 1:
        return filled
    for label in np.unique(label_map):
        inside = filled == label
        regions = connected_regions(inside)
        at_edge = np.zeros(len(regions.areas), dtype=bool)
        for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            at_edge[regions.region_map[edge]] = True
        is_hole = (regions.labels == 0) & ~at_edge & (regions.areas <= max_area)
        filled[is_hole[regions.region_map]] = label
    return filled


class _RegionGraph:
    """Regions with their borders, which grow as regions are given away."""

    def __init__(self, labels: list[int], areas: list[int]) -> None:
        self._labels, self._areas = labels, areas
        self._into = list(range(len(labels)))  # the region that each has become a part of
        self._borders: list[dict[int, int]] = [defaultdict(int) for _ in labels]

    def add_borders(self, pairs: np.ndarray, lengths: np.ndarray) -> None:
        for (one, other), length in zip(pairs.tolist(), lengths.tolist(), strict=True):
            self._borders[one][other] = self._borders[other][one] = length

    def give_away(self, small: Iterable[int], min_area: int) -> None:
        waiting = [(self._areas[region], region) for region in small]
        heapify(waiting)
        while waiting:
            area, region = heappop(waiting)
            if self._into[region] != region or area != self._areas[region]:
                continue  # a part of another by now, or grown since
            if not self._borders[region]:
                return  # it is the whole picture
            grown = self._join_longest(region)
            if self._areas[grown] < min_area:
                heappush(waiting, (self._areas[grown], grown))

    def _join_longest(self, region: int) -> int:
        by_label: dict[int, int] = defaultdict(int)
        for neighbour, length in self._borders[region].items():
            by_label[self._labels[neighbour]] += length
        label = min(by_label, key=lambda label: (-by_label[label], label))
        alike = [n for n in self._borders[region] if self._labels[n] == label]
        target = max(alike, key=lambda neighbour: len(self._borders[neighbour]))
        for part in (region, *alike):
            if part != target:
                self._merge(part, target)
        return target

    def _merge(self, part: int, target: int) -> None:
        self._into[part] = target
        self._areas[target] += self._areas[part]
        for neighbour, length in self._borders[part].items():
            del self._borders[neighbour][part]
            if neighbour != target:
                self._borders[target][neighbour] += length
                self._borders[neighbour][target] += length
        self._borders[part] = {}

    def labels_of_regions(self, dtype: np.dtype[np.unsignedinteger]) -> UInt[np.ndarray, " R"]:
        for region in range(len(self._into)):
            while self._into[region] != self._into[self._into[region]]:
                self._into[region] = self._into[self._into[region]]
        return np.array([self._labels[target] for target in self._into], dtype=dtype)
