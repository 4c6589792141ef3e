"""Pictures seen through overlapping windows, for sharper label maps and for very large pictures.

One implementation for `escnet segment` and evaluation. The picture is resized to a canvas, windows
of the canvas and the picture as a whole go through the method, and their probabilities (sigmoids)
are averaged. Probabilities are asked for in bands of rows: only the rows of windows that a band
touches are held, so memory grows with the picture's width and not with its area.

Sizes: N texts, M of them kept, L labels present, H x W the picture, h x w its canvas.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain

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
        present: Labels that have a text that some view kept; the rows of the scores.
    """

    def __init__(
        self,
        method: Method,
        pixels: UInt8[np.ndarray, "H W 3"],
        text_embedding: Float[Tensor, "N D"],
        owner: Sequence[int],
        windows: Windows,
    ) -> None:
        self._method = method
        self._windows = windows
        self.canvas_hw = windows.canvas_hw((pixels.shape[0], pixels.shape[1]))
        if windows.size is not None:
            pixels = to_short_side(pixels, windows.size, may_grow=True)
            self._canvas = square(pixels, windows.size)
        else:
            self._canvas = _resized(pixels, self.canvas_hw)
        most = min(windows.window or method.view_size, windows.size or sys.maxsize)
        self._side_hw = window_hw(self.canvas_hw, most)
        small = square(pixels, most) if windows.size is not None else pixels
        whole = method.logits([small], text_embedding)[0]
        self._tops = window_starts(self.canvas_hw[0], self._side_hw[0], windows.overlap)
        self._lefts = window_starts(self.canvas_hw[1], self._side_hw[1], windows.overlap)
        self._rows: dict[int, list[Float[Tensor, "L _ _"]]] = {}
        if windows.size is None:
            # The names are chosen once, by the picture as a whole: windows must agree on them.
            self._embedding = text_embedding[whole.kept]
            self._owner = [owner[text] for text in whole.kept]
            self.present = sorted(set(self._owner))
            whole_logits = self._of_labels(whole.logits, self._owner)
        else:
            # As CAT-Seg's evaluation has it, each view chooses its own. Its views are few.
            self._embedding, self._owner = text_embedding, list(owner)
            views = {top: self._views_of_row(top) for top in self._tops}
            kept = {text for view in (whole, *chain(*views.values())) for text in view.kept}
            self.present = sorted({owner[text] for text in kept})
            self._rows = {top: [self._of_view(view) for view in row] for top, row in views.items()}
            whole_logits = _enlarged(self._of_view(whole), (most, most))
        self._whole = whole_logits.sigmoid()

    def band(self, top: int, bottom: int, labels: slice = slice(None)) -> Float[Tensor, "n rows w"]:
        """The probabilities of some rows of the canvas; ask from the top downwards.

        Args:
            top: The first row.
            bottom: The row behind the last.
            labels: Which of the labels present; all if not given.
        """
        height, width = self.canvas_hw
        whole = self._whole[labels]
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
                probability = _enlarged(logits[labels], (side_h, side_w), rows).sigmoid()
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

    def _logits_of_row(self, top: int) -> list[Float[Tensor, "L _ _"]]:
        if top not in self._rows:
            self._rows[top] = [self._of_view(view) for view in self._views_of_row(top)]
        return self._rows[top]

    def _views_of_row(self, top: int) -> list[ViewLogits]:
        side_h, side_w = self._side_hw
        logits: list[ViewLogits] = []
        for first in range(0, len(self._lefts), _VIEWS_AT_ONCE):
            views = [
                np.ascontiguousarray(self._canvas[top : top + side_h, left : left + side_w])
                for left in self._lefts[first : first + _VIEWS_AT_ONCE]
            ]
            logits += self._method.logits(views, self._embedding)
        return logits

    def _of_view(self, view: ViewLogits) -> Float[Tensor, "L _ _"]:
        return self._of_labels(view.logits, [self._owner[text] for text in view.kept])

    def _of_labels(
        self, logits: Float[Tensor, "M _ _"], owner: Sequence[int]
    ) -> Float[Tensor, "L _ _"]:
        """The logits of all labels present; one whose texts the view dropped has no chance there.

        Args:
            logits: Of the texts that a view kept.
            owner: Their labels.
        """
        own = sorted(set(owner))
        merged = merge_queries(logits.float(), np.searchsorted(own, owner).tolist())
        if own == self.present:
            return merged
        spread = merged.new_full((len(self.present), *merged.shape[1:]), _NO_CHANCE)
        spread[np.searchsorted(self.present, own)] = merged
        return spread

    def _fade(self, side: int) -> Float[Tensor, " side"]:
        if self._windows.seams == "equal":
            return torch.ones(side)
        return torch.sin(torch.pi * (torch.arange(side) + 0.5) / side) ** 2


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
        scores.present, num_labels, size_hw, void_below=void_below, background=background
    )
    height, width = size_hw
    canvas_h, canvas_w = scores.canvas_hw
    to_rows = to_columns = None
    if scores.canvas_hw != size_hw:
        to_rows = bilinear_matrix(canvas_h, height)
        to_columns = bilinear_matrix(canvas_w, width).T.contiguous()
    step, labels_at_once = band_of(len(scores.present), max(width, canvas_w))
    step = min(step, max(1, int(step * height / canvas_h)))  # a band of the canvas, too, fits
    for top in range(0, height, step):
        bottom = min(top + step, height)
        race = Race()
        for start in range(0, len(scores.present), labels_at_once):
            labels = slice(start, start + labels_at_once)
            if to_rows is None or to_columns is None:
                band = scores.band(top, bottom, labels)
            else:
                first = max(0, int(top * canvas_h / height) - 1)
                last = min(canvas_h, int(bottom * canvas_h / height) + 2)
                part = scores.band(first, last, labels)
                band = to_rows[top:bottom, first:last].to(part) @ part @ to_columns.to(part)
            race.enter(band, start)
        maps.fill(slice(top, bottom), *race.result())
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
