"""Pictures seen through overlapping windows, for sharper label maps and for very large pictures.

One implementation for `escnet segment` and evaluation. The picture is resized to a canvas, windows
of the canvas and the picture as a whole go through the method, and their probabilities (sigmoids)
are averaged. Probabilities are asked for in bands of rows: only the rows of windows that a band
touches are held, so memory grows with the picture's width and not with its area.

Sizes: N texts, M of them kept, L labels of a view, H x W the picture, h x w its canvas.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt, UInt8
from PIL import Image
from torch import Tensor

from escnet.inference.label_maps.labelling import (
    LabelMaps,
    Race,
    band_of,
    bilinear_matrix,
    merge_queries,
)
from escnet.inference.label_maps.published_resize import square, to_short_side
from escnet.inference.label_maps.windows import Windows, window_hw, window_starts
from escnet.inference.methods.method import Method, ViewLogits

_VIEWS_AT_ONCE = 4
_NO_CHANCE = -100.0  # CAT-Seg's logit of a name that a view drops


class WindowedScores:
    """The probabilities of one picture's labels, by bands of its canvas.

    Attributes:
        canvas_hw: Height and width of the canvas.
    """

    def __init__(
        self,
        method: Method,
        pixels: UInt8[np.ndarray, "H W 3"],
        text_embedding: Float[Tensor, "N D"],
        owner: Sequence[int],
        windows: Windows,
        *,
        exact: bool = True,
    ) -> None:
        self._method = method
        self._windows = windows
        self._exact = exact
        self.canvas_hw = windows.canvas_hw((pixels.shape[0], pixels.shape[1]))
        if windows.size is not None:
            pixels = to_short_side(pixels, windows.size, may_grow=True)
            self._canvas = square(pixels, windows.size)
        else:
            self._canvas = _resized(pixels, self.canvas_hw)
        most = min(windows.window or method.view_size, windows.size or sys.maxsize)
        self._side_hw = window_hw(self.canvas_hw, most)
        small = square(pixels, most) if windows.size is not None else pixels
        whole = method.logits([small], text_embedding, None if exact else owner)[0]
        self._tops = window_starts(self.canvas_hw[0], self._side_hw[0], windows.overlap)
        self._lefts = window_starts(self.canvas_hw[1], self._side_hw[1], windows.overlap)
        self._rows: dict[int, list[_OfLabels]] = {}
        self._embedding, self._owner = text_embedding, list(owner)
        if exact and windows.size is None:
            # The names are chosen once, by the picture as a whole: its windows may be thousands.
            self._embedding = text_embedding[whole.kept]
            self._owner = [owner[text] for text in whole.kept]
        labels, logits = self._merged(whole, owner)
        if windows.size is not None:
            logits = _enlarged(logits, (most, most))
        self._whole = _OfLabels(labels, logits.sigmoid())

    def labels_in(self, top: int, bottom: int) -> list[int]:
        """The labels that some view left a chance in these rows of the canvas."""
        rows = (self._logits_of_row(start) for start in self._touching(top, bottom))
        return sorted({*self._whole.labels, *(one for view in chain(*rows) for one in view.labels)})

    def band(self, top: int, bottom: int, labels: Sequence[int]) -> Float[Tensor, "n rows w"]:
        """The probabilities of some rows of the canvas; ask from the top downwards.

        Args:
            top: The first row.
            bottom: The row behind the last.
            labels: Which of the labels.
        """
        height, width = self.canvas_hw
        whole = self._whole.spread(labels, 0.0)
        total = whole.new_zeros((len(whole), bottom - top, width))
        weight = whole.new_zeros((bottom - top, width))
        side_h, side_w = self._side_hw
        fade_h, fade_w = self._fade(side_h).to(total), self._fade(side_w).to(total)
        for start in self._touching(top, bottom):
            rows = slice(max(top, start) - start, min(bottom, start + side_h) - start)
            target = slice(start + rows.start - top, start + rows.stop - top)
            for left, logits in zip(self._lefts, self._logits_of_row(start), strict=True):
                columns = slice(left, left + side_w)
                share = fade_h[rows, None] * fade_w
                maps = logits.spread(labels, _NO_CHANCE)
                probability = _enlarged(maps, (side_h, side_w), rows).sigmoid()
                total[:, target, columns] += probability * share
                weight[target, columns] += share
        scores = total / weight
        if self._windows.global_view:
            scores = (scores + _enlarged(whole, (height, width), slice(top, bottom))) / 2
        return scores

    def _touching(self, top: int, bottom: int) -> Iterator[int]:
        """Tops of the windows that reach into a band; those above it are forgotten."""
        side = self._side_hw[0]
        self._rows = {start: row for start, row in self._rows.items() if start + side > top}
        yield from (start for start in self._tops if start < bottom and start + side > top)

    def _logits_of_row(self, top: int) -> "list[_OfLabels]":
        if top not in self._rows:
            views = self._views_of_row(top)
            self._rows[top] = [self._merged(view, self._owner) for view in views]
        return self._rows[top]

    def _views_of_row(self, top: int) -> list[ViewLogits]:
        side_h, side_w = self._side_hw
        logits: list[ViewLogits] = []
        for first in range(0, len(self._lefts), _VIEWS_AT_ONCE):
            views = [
                np.ascontiguousarray(self._canvas[top : top + side_h, left : left + side_w])
                for left in self._lefts[first : first + _VIEWS_AT_ONCE]
            ]
            logits += self._method.logits(
                views, self._embedding, None if self._exact else self._owner
            )
        return logits

    def _merged(self, view: ViewLogits, owner: Sequence[int]) -> "_OfLabels":
        """The logits of the labels whose texts a view kept."""
        own = [owner[text] for text in view.kept]
        labels = sorted(set(own))
        rows = np.searchsorted(labels, own).tolist()
        return _OfLabels(labels, merge_queries(view.logits.float(), rows))

    def _fade(self, side: int) -> Float[Tensor, " side"]:
        if self._windows.seams == "equal":
            return torch.ones(side)
        return torch.sin(torch.pi * (torch.arange(side) + 0.5) / side) ** 2


class _OfLabels(NamedTuple):
    """Maps of some labels.

    Attributes:
        labels: Which, in increasing order.
        maps: Theirs.
    """

    labels: list[int]
    maps: Float[Tensor, "L _ _"]

    def spread(self, labels: Sequence[int], absent: float) -> Float[Tensor, "n _ _"]:
        """The maps of other labels, those that have none filled with a number."""
        if list(labels) == self.labels:
            return self.maps
        own = dict(zip(self.labels, range(len(self.labels)), strict=True))
        rows = [own.get(label) for label in labels]
        spread = self.maps.new_full((len(rows), *self.maps.shape[1:]), absent)
        places = [place for place, row in enumerate(rows) if row is not None]
        spread[places] = self.maps[[row for row in rows if row is not None]]
        return spread


@torch.inference_mode()
def label_windows(
    scores: WindowedScores,
    num_labels: int,
    size_hw: tuple[int, int],
    *,
    void_below: float = 0.0,
    background: bool = False,
) -> tuple[UInt[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """The winning label of every pixel, and its confidence, as `label_pixels` gives them."""
    maps = LabelMaps(
        range(num_labels), num_labels, size_hw, void_below=void_below, background=background
    )
    height, width = size_hw
    canvas_h, canvas_w = scores.canvas_hw
    to_rows = to_columns = None
    if scores.canvas_hw != size_hw:
        to_rows = bilinear_matrix(canvas_h, height)
        to_columns = bilinear_matrix(canvas_w, width).T.contiguous()
    step, labels_at_once = band_of(num_labels, max(width, canvas_w))
    step = min(step, max(1, int(step * height / canvas_h)))  # a band of the canvas, too, fits
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first, last = top, bottom
        if to_rows is not None:
            first = max(0, int(top * canvas_h / height) - 1)
            last = min(canvas_h, int(bottom * canvas_h / height) + 2)
        labels = scores.labels_in(first, last)
        race = Race()
        for start in range(0, len(labels), labels_at_once):
            band = scores.band(first, last, labels[start : start + labels_at_once])
            if to_rows is not None and to_columns is not None:
                band = to_rows[top:bottom, first:last].to(band) @ band @ to_columns.to(band)
            race.enter(band, start)
        best, winner = race.result()
        maps.fill(slice(top, bottom), best, torch.tensor(labels, device=winner.device)[winner])
    return maps.label_map, maps.confidence


def _resized(
    pixels: UInt8[np.ndarray, "_ _ 3"], size_hw: tuple[int, int]
) -> UInt8[np.ndarray, "_ _ 3"]:
    if pixels.shape[:2] == size_hw:
        return pixels
    height, width = size_hw
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _enlarged(
    maps: Float[Tensor, "L _ _"], size_hw: tuple[int, int], rows: slice = slice(None)
) -> Float[Tensor, "L _ _"]:
    """Some rows of the maps after bilinear interpolation to a size."""
    to_rows = bilinear_matrix(maps.shape[1], size_hw[0])[rows].to(maps)
    to_columns = bilinear_matrix(maps.shape[2], size_hw[1]).to(maps).T.contiguous()
    return to_rows @ maps @ to_columns
