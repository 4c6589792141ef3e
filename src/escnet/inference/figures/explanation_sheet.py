"""The sheet of an explanation: Figures 3 and 6 of one's own picture.

The first row holds the picture, its correlation and the answer. Each ESC-Block has a row: the
prompts it read off its map, then the class's map after it, with SAM and without.

Sizes: H x W pixels, h x w patches.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, UInt8

from escnet.annotations.palette import class_colours, name_colours
from escnet.inference.figures.explanation import WITHOUT_SAM, BlockStep, Explanation, FinalMask
from escnet.inference.figures.sheet import (
    SMALL,
    blank_sheet,
    caption,
    cell_size,
    clipped,
    encode_sheet,
    reduced,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_NUM_COLUMNS = 6
_CELL_AREA = 6.0  # square inches
_BESIDE, _FOOT = 0.6, 0.3  # inches, for the scales and a line of text
_HEAT, _CHANGE = "viridis", "RdBu_r"
_MOST_TICKS = 4  # of a scale
_SMALLEST_CHANGE = 1e-6
_FADED = 0.35  # how much of the picture is left beneath regions
_WASH = 0.6  # opacity of a colour over the picture
_MOST_OTHERS = 6


def draw_explanation(explanation: Explanation) -> bytes:
    """The content of the sheet's PNG file."""
    height, width = explanation.picture.shape[:2]
    figure, cells = blank_sheet(
        1 + len(explanation.blocks),
        _NUM_COLUMNS if explanation.blocks else 4,
        cell_hw=cell_size((height, width), _CELL_AREA),
        title=_title(explanation),
        beside=_BESIDE,
        foot=_FOOT,
    )
    drawing = _Drawing(explanation)
    drawing.first_row(cells[0])
    for number, block in enumerate(explanation.blocks, 1):
        drawing.block_row(cells[number], block, number)
    if explanation.answer_without is not None:
        text = f"without SAM: {WITHOUT_SAM}"
        figure.text(0.5, 0.01, text, fontsize=SMALL, ha="center", va="bottom")
    return encode_sheet(figure)


def _title(explanation: Explanation) -> str:
    name, query = clipped(explanation.name), clipped(explanation.query)
    asked = name if query == name else f"{name}, by its query {query}"
    others = [clipped(other) for other in explanation.names if other != explanation.name]
    among = f"among {', '.join(others[:_MOST_OTHERS])}" if others else "alone"
    among += f" and {len(others) - _MOST_OTHERS} more" if len(others) > _MOST_OTHERS else ""
    return f"{asked} ({among})\nmade by {explanation.model}, {explanation.method}"


class _Drawing:
    """The cells of one explanation, which share their picture's frame and the scale of the maps."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        height, width = explanation.picture.shape[:2]
        self.generator = dict(explanation.generator or {})
        self.picture = reduced(explanation.picture)
        self.frame = (0, width, height, 0)  # so that everything is drawn in picture pixels
        maps = [explanation.correlation]
        for block in explanation.blocks:
            maps += [block.evidence, block.activation]
            maps += [] if block.activation_without is None else [block.activation_without]
        self.scale = {"vmin": min(m.min() for m in maps), "vmax": max(m.max() for m in maps)}
        self.faded = (255 - (255 - self.picture.astype(np.float32)) * _FADED).astype(np.uint8)

    def first_row(self, cells: "list[Axes]") -> None:
        explanation = self.explanation
        height, width = explanation.picture.shape[:2]
        self._show(cells[0], self.picture, f"picture, {width} x {height}")
        self._show_map(cells[1], explanation.correlation, "correlation (Eq. 1), as logits")
        with_sam = "" if explanation.answer_without is None else ", with SAM"
        self._show_answer(cells[2], explanation.answer, f"confidence at last{with_sam}")
        if explanation.answer_without is not None:
            without = explanation.answer_without
            self._show_answer(cells[3], without, "confidence at last, without SAM")
            self._show_won(cells[5], without, "where it wins, without SAM")
        won = cells[4] if len(cells) == _NUM_COLUMNS else cells[3]
        self._show_won(won, explanation.answer, f"where it wins{with_sam}")

    def block_row(self, cells: "list[Axes]", block: BlockStep, number: int) -> None:
        self._show_probability(cells[0], block, number)
        self._show_regions(cells[1], block)
        self._show_mask_prompt(cells[2], block)
        if block.activation_without is None:
            self._show_map(cells[3], block.activation, f"after block {number} (no SAM block)")
            return
        self._show_map(cells[3], block.activation, f"after block {number}, with SAM")
        self._show_map(cells[4], block.activation_without, f"after block {number}, without SAM")
        change = block.activation - block.activation_without
        self._show_change(cells[5], change, "what SAM changes (own scale)")

    def _show(self, cell: "Axes", pixels: UInt8[np.ndarray, "_ _ 3"], text: str) -> None:
        cell.imshow(pixels, extent=self.frame)
        caption(cell, text)

    def _show_map(self, cell: "Axes", logits: Float[np.ndarray, "h w"], text: str) -> None:
        _bar(cell, cell.imshow(logits, cmap=_HEAT, extent=self.frame, **self.scale))
        caption(cell, text)

    def _show_change(self, cell: "Axes", change: Float[np.ndarray, "h w"], text: str) -> None:
        most = max(float(np.abs(change).max()), _SMALLEST_CHANGE)
        shown = cell.imshow(change, cmap=_CHANGE, extent=self.frame, vmin=-most, vmax=most)
        _bar(cell, shown)
        caption(cell, text)

    def _show_answer(self, cell: "Axes", answer: FinalMask, text: str) -> None:
        shown = cell.imshow(answer.confidence, cmap=_HEAT, extent=self.frame, vmin=0, vmax=1)
        _bar(cell, shown)
        caption(cell, text)

    def _show_won(self, cell: "Axes", answer: FinalMask, text: str) -> None:
        names = self.explanation.names
        colour = (
            name_colours(names, self.explanation.own_colours)[names.index(self.explanation.name)]
            / 255
        )
        wash = np.where(answer.mask[..., None], [*colour, _WASH], 0.0)  # (H, W, 4), clear elsewhere
        self._show(cell, self.picture, f"{text}: {answer.mask.mean():.1%}")
        cell.imshow(wash, extent=self.frame, interpolation="nearest")

    def _show_probability(self, cell: "Axes", block: BlockStep, number: int) -> None:
        shown = cell.imshow(block.probability, cmap=_HEAT, extent=self.frame, vmin=0, vmax=1)
        _bar(cell, shown)
        self._outline(cell, block.region >= 0)
        threshold = self.generator["threshold"]
        caption(cell, f"block {number}: object probability\nred: at least {threshold}")

    def _outline(self, cell: "Axes", mask: Bool[np.ndarray, "h w"]) -> None:
        """Draw along the edges of the patches, where a contour would cut their corners."""
        from matplotlib.collections import LineCollection  # noqa: PLC0415 -- slow to import

        _, right, bottom, _ = self.frame
        x = np.linspace(0, right, mask.shape[1] + 1)
        y = np.linspace(0, bottom, mask.shape[0] + 1)
        upright = zip(*np.nonzero(mask[:, 1:] != mask[:, :-1]), strict=True)
        level = zip(*np.nonzero(mask[1:] != mask[:-1]), strict=True)
        lines = [((x[j + 1], y[i]), (x[j + 1], y[i + 1])) for i, j in upright]
        lines += [((x[j], y[i + 1]), (x[j + 1], y[i + 1])) for i, j in level]
        cell.add_collection(LineCollection(lines, colors="red", linewidths=1))

    def _show_regions(self, cell: "Axes", block: BlockStep) -> None:
        colours = class_colours(len(block.regions)) / 255
        self._show(cell, self.faded, f"{len(block.regions)} regions, their points and boxes")
        wash = np.zeros((*block.region.shape, 4))  # (h, w, 4), clear outside the foreground
        present = np.unique(block.region[block.region >= 0])
        for index, colour in zip(present, colours, strict=True):
            wash[block.region == index] = [*colour, _WASH]
        cell.imshow(wash, extent=self.frame, interpolation="nearest")
        for region, colour in zip(block.regions, colours, strict=True):
            x0, y0, x1, y1 = region.box_xyxy
            cell.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, linewidth=1.5)
        for region in block.regions:
            x, y = region.point_xy
            cell.plot(x, y, "o", color="black", markeredgecolor="white", markersize=6)

    def _show_mask_prompt(self, cell: "Axes", block: BlockStep) -> None:
        scale = self.generator["mask_scale"]
        prompt = block.mask_prompt.max(axis=0)
        shown = cell.imshow(prompt, cmap="gray", extent=self.frame, vmin=-scale, vmax=scale)
        _bar(cell, shown)
        num = len(block.mask_prompt)
        text = "mask prompt, as logits" if num == 1 else f"the highest of {num} mask prompts"
        used = " and ".join(self.generator["prompts_used"]) or "nothing"
        caption(cell, f"{text}\nSAM is given: {used}")


def _bar(cell: "Axes", shown: "AxesImage") -> None:
    """Put the scale of a map beside it."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 -- slow to import

    figure = cell.get_figure()
    if figure is not None:
        beside = cell.inset_axes((1.02, 0.0, 0.04, 1.0))
        bar = figure.colorbar(shown, cax=beside, ticks=MaxNLocator(_MOST_TICKS))
        bar.ax.tick_params(labelsize=SMALL - 2)
