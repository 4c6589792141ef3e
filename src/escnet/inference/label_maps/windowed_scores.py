"""Pictures seen through overlapping windows, for sharper label maps and for very large pictures.

One implementation for `escnet segment` and evaluation. The picture is resized to a canvas, windows
of the canvas and the picture as a whole go through the method, and their probabilities (sigmoids)
are averaged. Probabilities are asked for in bands of rows: only the rows of windows that a band
touches are held, so memory grows with the picture's width and not with its area.

Sizes: N texts, M of them kept, L labels of a view, H x W the picture, h x w its canvas.
"""

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt, UInt8

from escnet.inference.label_maps.canvas import Canvas, PictureCanvas
from escnet.inference.label_maps.curve import AS_IT_IS, Curve
from escnet.inference.label_maps.enlargement import Enlargement, enlarged
from escnet.inference.label_maps.labelling import LabelMaps, Race, bands, merge_queries
from escnet.inference.label_maps.presence import peak_probabilities
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.label_maps.published_resize import View
from escnet.inference.label_maps.ranking import Ranking
from escnet.inference.label_maps.rest import Rest
from escnet.inference.label_maps.windows import Windows, window_hw, window_starts
from escnet.inference.methods.method import EncodedView, Method, ViewLogits

_VIEWS_AT_ONCE = 4


class WindowedScores:
    """The probabilities of one picture's labels, by bands of its canvas.

    Args:
        method: What gives the logits.
        picture: What the windows are cut out of.
        text_embedding: One for each text.
        owner: The label of each text.
        windows: How the picture is cut.
        exact: Whether every name takes part in all work.
        find_rest: Says when the rest class wins, from the picture as a whole and its logits; None
            for no such class.
        columns: Those of the canvas that are asked for; None for all.

    Attributes:
        canvas_hw: Height of the canvas, and width of the columns that are asked for.
        rest: When the rest class wins.
        num_owners: Labels and contrast queries.
        peaks: The probability of each of them where the picture as a whole is surest.
    """

    def __init__(
        self,
        method: Method,
        picture: UInt8[np.ndarray, "H W 3"] | Canvas,
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int],
        windows: Windows,
        *,
        exact: bool = True,
        find_rest: Callable[[EncodedView, ViewLogits], Rest] | None = None,
        columns: slice | None = None,
    ) -> None:
        self._method = method
        self._windows = windows
        self._exact = exact
        self.num_owners = max(owner) + 1
        most = min(windows.window or method.view_size, windows.size or sys.maxsize)
        if isinstance(picture, np.ndarray):
            picture = PictureCanvas(picture, windows, most)
        self._canvas = picture
        self._size_hw = picture.size_hw
        self._columns = columns or slice(0, self._size_hw[1])
        self.canvas_hw = self._size_hw[0], self._columns.stop - self._columns.start
        self._side_hw = window_hw(self._size_hw, most)
        small = picture.whole()
        encoded = method.encode_views([small])
        whole = method.logits(encoded, text_embedding, None if exact else owner)[0]
        self._tops = window_starts(self._size_hw[0], self._side_hw[0], windows.overlap)
        self._lefts = [
            left
            for left in window_starts(self._size_hw[1], self._side_hw[1], windows.overlap)
            if left < self._columns.stop and left + self._side_hw[1] > self._columns.start
        ]
        self._rows: dict[int, list[_OfLabels | None]] = {}
        self._embedding, self._owner = text_embedding, list(owner)
        if exact and windows.size is None:
            # The names are chosen once, by the picture as a whole: its windows may be thousands.
            self._embedding = text_embedding[whole.kept]
            self._owner = [owner[text] for text in whole.kept]
        self.rest = None if find_rest is None else find_rest(encoded[0], whole)
        self._shown: set[int] = set()  # labels that the picture as a whole shows
        of_labels = _of_labels(whole, owner)
        self.peaks = peak_probabilities(*of_labels, self.num_owners)
        labels, logits = self._judged(of_labels)
        if self.rest is not None:
            self._shown = set(np.array(labels)[self.rest.present(logits)].tolist())
        if windows.size is not None:
            logits = np.stack([enlarged(own, (most, most)) for own in logits])
        self._whole = _OfLabels(labels, sigmoid(logits))

    def _judged(self, view: "_OfLabels") -> "_OfLabels":
        """The logits of a view, low for labels that neither it nor the whole picture shows."""
        if self.rest is None:
            return view
        is_present = self.rest.present(view.maps) | np.isin(view.labels, list(self._shown))
        return _OfLabels(view.labels, self.rest.judged(view.maps, is_present))

    def labels_in(self, rows: slice) -> list[int]:
        """The labels that some view left a chance in these rows of the canvas."""
        views = chain(*(self._logits_of_row(start) for start in self._touching(rows)))
        of_views = (label for view in views if view is not None for label in view.labels)
        return sorted({*self._whole.labels, *of_views})

    def band(self, rows: slice) -> Iterator[tuple[int, Float32[np.ndarray, "rows w"]]]:
        """The probabilities of some rows of the canvas, one label of `labels_in` after the other.

        Ask from the top downwards. A view that left a label no chance says that it is not there.
        """
        size_hw = rows.stop - rows.start, self.canvas_hw[1]
        parts = list(self._parts(rows))
        weight = np.zeros(size_hw, np.float32)
        for part in parts:
            weight[part.target] += part.share[:, part.across]
        weight[weight == 0] = 1  # where nothing is to be labelled
        of_whole = Enlargement(self._whole.maps.shape[1:], self._size_hw)
        source = of_whole.source(rows)
        for label in self.labels_in(rows):
            total = np.zeros(size_hw, np.float32)
            for part in parts:
                if (logits := part.logits.of(label)) is not None:
                    probability = sigmoid(part.enlargement.rows(logits[part.source], part.rows))
                    total[part.target] += (probability * part.share)[:, part.across]
            total /= weight
            if self._windows.global_view:
                if (whole := self._whole.of(label)) is not None:
                    total += of_whole.rows(whole[source], rows)[:, self._columns]
                total /= 2
            yield label, total

    def label_maps(
        self,
        num_labels: int,
        size_hw: tuple[int, int],
        *,
        void_below: float,
        own_void_below: Sequence[float],
        ranking: Ranking | None = None,
        curve: Curve = AS_IT_IS,
    ) -> LabelMaps:
        """What the probabilities are to fill; the arguments are those of `LabelMaps`."""
        return LabelMaps(
            range(self.num_owners),
            num_labels,
            size_hw,
            void_below=void_below,
            own_void_below=own_void_below,
            rest=self.rest,
            ranking=ranking,
            curve=curve,
        )

    def _parts(self, rows: slice) -> Iterator["_Part"]:
        """What the windows have of a band."""
        side_h, side_w = self._side_hw
        fade_h, fade_w = self._fade(side_h), self._fade(side_w)
        columns = self._columns
        for start in self._touching(rows):
            own = slice(max(rows.start, start) - start, min(rows.stop, start + side_h) - start)
            target = slice(start + own.start - rows.start, start + own.stop - rows.start)
            for left, logits in zip(self._lefts, self._logits_of_row(start), strict=True):
                if logits is None:
                    continue
                enlargement = Enlargement(logits.maps.shape[1:], self._side_hw)
                first = max(left, columns.start)
                last = min(left + side_w, columns.stop)
                yield _Part(
                    logits=logits,
                    enlargement=enlargement,
                    source=enlargement.source(own),
                    rows=own,
                    across=slice(first - left, last - left),
                    target=(target, slice(first - columns.start, last - columns.start)),
                    share=fade_h[own, None] * fade_w,
                )

    def _touching(self, rows: slice) -> Iterator[int]:
        """Tops of the windows that reach into a band; those above it are forgotten."""
        side = self._side_hw[0]
        self._rows = {top: row for top, row in self._rows.items() if top + side > rows.start}
        yield from (top for top in self._tops if top < rows.stop and top + side > rows.start)

    def _logits_of_row(self, top: int) -> "list[_OfLabels | None]":
        """Of each window of a row; None where it has nothing to be labelled."""
        if top not in self._rows:
            side_h, side_w = self._side_hw
            row: list[_OfLabels | None] = []
            for first in range(0, len(self._lefts), _VIEWS_AT_ONCE):
                lefts = self._lefts[first : first + _VIEWS_AT_ONCE]
                row += self._logits_of(
                    [
                        self._canvas.view(slice(top, top + side_h), slice(left, left + side_w))
                        for left in lefts
                    ]
                )
            self._rows[top] = row
        return self._rows[top]

    def _logits_of(self, views: Sequence[View | None]) -> "list[_OfLabels | None]":
        seen = [view for view in views if view is not None]
        logits = iter(self._views_logits(seen) if seen else ())
        return [
            None if view is None else self._judged(_of_labels(next(logits), self._owner))
            for view in views
        ]

    def _views_logits(self, views: Sequence[View]) -> list[ViewLogits]:
        encoded = self._method.encode_views(views)
        return self._method.logits(encoded, self._embedding, None if self._exact else self._owner)

    def _fade(self, side: int) -> Float32[np.ndarray, " side"]:
        if self._windows.seams == "equal":
            return np.ones(side, np.float32)
        return (np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2).astype(np.float32)


class _OfLabels(NamedTuple):
    """Maps of some labels.

    Attributes:
        labels: Which, in increasing order.
        maps: Theirs.
    """

    labels: list[int]
    maps: Float32[np.ndarray, "L _ _"]

    def of(self, label: int) -> Float32[np.ndarray, "_ _"] | None:
        """The map of a label; None where it has none."""
        place = bisect_left(self.labels, label)
        is_here = place < len(self.labels) and self.labels[place] == label
        return self.maps[place] if is_here else None


def _of_labels(view: ViewLogits, owner: Sequence[int]) -> _OfLabels:
    """The logits of the labels whose texts a view kept."""
    own = [owner[text] for text in view.kept]
    labels = sorted(set(own))
    rows = np.searchsorted(labels, own).tolist()
    return _OfLabels(labels, merge_queries(view.logits, rows))


class _Part(NamedTuple):
    """What a window has of a band.

    Attributes:
        logits: Of the window's labels.
        enlargement: To the window's size.
        source: Which rows of the logits the band is made of.
        rows: Which rows of the window the band has.
        across: Which columns of the window.
        target: Where they lie in the band.
        share: How much the window counts there.
    """

    logits: _OfLabels
    enlargement: Enlargement
    source: slice
    rows: slice
    across: slice
    target: tuple[slice, slice]
    share: Float32[np.ndarray, "_ _"]


def label_windows(
    scores: WindowedScores,
    num_labels: int,
    size_hw: tuple[int, int],
    *,
    void_below: float = 0.0,
    own_void_below: Sequence[float] = (),
    ranking: Ranking | None = None,
    curve: Curve = AS_IT_IS,
) -> tuple[UInt[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """The winning label of every pixel, and its confidence, as `label_pixels` gives them."""
    maps = scores.label_maps(
        num_labels,
        size_hw,
        void_below=void_below,
        own_void_below=own_void_below,
        ranking=ranking,
        curve=curve,
    )
    enlargement = Enlargement(scores.canvas_hw, size_hw)
    for rows in bands((size_hw[0], max(size_hw[1], scores.canvas_hw[1]))):
        race = Race((rows.stop - rows.start, size_hw[1]), runners=maps.runners(rows))
        for label, part in scores.band(enlargement.source(rows)):
            race.enter(enlargement.rows(part, rows), label)
        maps.fill(rows, race, np.positive)  # they are probabilities
    return maps.label_map, maps.confidence


def label_rows(
    scores: WindowedScores,
    num_labels: int,
    rows: slice,
    *,
    void_below: float = 0.0,
    own_void_below: Sequence[float] = (),
    curve: Curve = AS_IT_IS,
) -> tuple[UInt[np.ndarray, "rows w"], Float[np.ndarray, "rows w"]]:
    """As `label_windows`, of some rows of the canvas in its own size.

    Ask from the top downwards.
    """
    size_hw = rows.stop - rows.start, scores.canvas_hw[1]
    maps = scores.label_maps(
        num_labels, size_hw, void_below=void_below, own_void_below=own_void_below, curve=curve
    )
    for own in bands(size_hw):
        race = Race((own.stop - own.start, size_hw[1]))
        for label, part in scores.band(slice(rows.start + own.start, rows.start + own.stop)):
            race.enter(part, label)
        maps.fill(own, race, np.positive)
    return maps.label_map, maps.confidence
