"""The sheet of a comparison: a row for each picture, a column for each model (Figures 1 and 5).

Sizes: h x w a picture as it is drawn.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from escnet.annotations.format import Colour
from escnet.annotations.overlay import draw_overlay
from escnet.annotations.palette import name_colours
from escnet.inference.figures.comparison import ComparedModel, ComparedPicture
from escnet.inference.figures.sheet import (
    SMALL,
    blank_sheet,
    caption,
    cell_size,
    clipped,
    encode_sheet,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 10  # of one sheet

_CELL_AREA = 8.0  # square inches
_MOST_LEGEND_NAMES = 24
_LEGEND_COLUMNS = 4
_LEGEND_ROW = 0.2  # inches


def draw_comparison(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    titles: Sequence[str],
    columns: Sequence[ComparedModel],
    names: Sequence[str],
    *,
    first: int = 0,
    own_colours: Mapping[str, Colour] = MappingProxyType({}),
) -> bytes:
    """The content of a sheet's PNG file.

    Args:
        pictures: Brought down by `escnet.inference.figures.sheet.reduced`; at most `MOST_ROWS`.
        titles: What stands above each.
        columns: Every model's answers.
        names: Class names by label.
        first: Where the pictures begin among those of the columns.
        own_colours: Colours that a names file gives to names.
    """
    colours = name_colours(names, own_colours)
    shapes = [cell_size((picture.shape[0], picture.shape[1]), _CELL_AREA) for picture in pictures]
    largest = max(height for height, _ in shapes), max(width for _, width in shapes)
    labels = [
        column.pictures[first + row].labels for column in columns for row in range(len(shapes))
    ]
    won = sorted(set().union(*(np.unique(label_map).tolist() for label_map in labels)))
    figure, cells = blank_sheet(
        len(pictures),
        1 + len(columns),
        cell_hw=largest,
        title="the same pictures and names, by different models",
        foot=_LEGEND_ROW * (2 + len(won[:_MOST_LEGEND_NAMES]) // _LEGEND_COLUMNS),
    )
    for row, (picture, text) in enumerate(zip(pictures, titles, strict=True)):
        cells[row][0].imshow(picture)
        caption(cells[row][0], clipped(text))
        for cell, column in zip(cells[row][1:], columns, strict=True):
            compared = column.pictures[first + row]
            cell.imshow(
                draw_overlay(picture, compared.labels, names, legend=False, colours=colours)
            )
            caption(cell, f"{clipped(column.model)}\n{column.method}", beneath=measured(compared))
    _add_legend(figure, won, names, colours / 255)
    return encode_sheet(figure)


def measured(compared: ComparedPicture) -> str:
    """Seconds and memory of one picture, for people."""
    gpu = compared.numbers["peak_gpu_memory"]
    on_gpu = "" if gpu is None else f", {memory_text(gpu)} of the GPU"
    return f"{compared.seconds:.2f} s, {memory_text(compared.peak_memory)}{on_gpu}"


def memory_text(num_bytes: int | None) -> str:
    """Bytes for people."""
    return "memory unknown" if num_bytes is None else f"{num_bytes / 1e6:,.0f} MB"


def _add_legend(
    figure: "Figure",
    labels: Sequence[int],
    names: Sequence[str],
    colours: Float[np.ndarray, "N 3"],
) -> None:
    """The colours of the names that won anywhere, at the foot of the sheet."""
    from matplotlib.patches import Patch  # noqa: PLC0415 -- slow to import

    handles = [
        Patch(color=tuple(colours[label]), label=clipped(names[label]))
        for label in labels[:_MOST_LEGEND_NAMES]
    ]
    if len(labels) > _MOST_LEGEND_NAMES:
        rest = len(labels) - _MOST_LEGEND_NAMES
        handles.append(Patch(color="none", label=f"and {rest} more"))
    legend = figure.legend(
        handles=handles,
        loc="lower center",
        ncols=min(len(handles), _LEGEND_COLUMNS),
        fontsize=SMALL,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
