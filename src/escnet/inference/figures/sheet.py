"""Sheets of pictures and maps, by matplotlib: what those of an explanation and a comparison share.

matplotlib is imported where something is drawn, and never its `pyplot`, which keeps every figure
and asks for a screen.

Sizes: H x W pixels, h x w the same brought down.
"""

import warnings
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from escnet.files import MARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALL = 8  # points of a caption
_TITLE = 12
_NARROWEST = 2.4  # inches: a caption must fit
_DOTS_PER_INCH = 110
_MARGIN, _ABOVE, _BENEATH = 0.1, 0.4, 0.2  # inches, for the captions of each cell
_HEAD = 0.7  # inches for the sheet's title
_LONGEST_NAME = 40  # characters
_LONGEST_SIDE = 640  # pixels of a picture as it is drawn


def blank_sheet(
    num_rows: int,
    num_columns: int,
    *,
    cell_hw: tuple[float, float],
    title: str,
    beside: float = 0.1,
    foot: float = 0.1,
) -> "tuple[Figure, list[list[Axes]]]":
    """A sheet without frames and ticks, and its cells by row and column.

    Places are computed here and not by matplotlib's layouts, which take seconds.

    Args:
        num_rows: Cells from top to bottom.
        num_columns: Cells from left to right.
        cell_hw: Height and width of a cell in inches, without its caption.
        title: What stands above all; its lines are kept.
        beside: Inches to the right of each cell.
        foot: Inches beneath all.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 -- slow to import

    step_h, step_w = _ABOVE + cell_hw[0] + _BENEATH, cell_hw[1] + beside
    height = _HEAD + num_rows * step_h + foot
    width = _MARGIN + num_columns * step_w
    figure = Figure(figsize=(width, height))
    head = figure.suptitle(_drawable(title), fontsize=_TITLE, y=1 - 0.1 / height)
    head.set_parse_math(False)
    cells = []
    for row in range(num_rows):
        bottom = height - _HEAD - (row + 1) * step_h + _BENEATH
        places = [(_MARGIN + column * step_w, bottom) for column in range(num_columns)]
        size = cell_hw[1] / width, cell_hw[0] / height
        cells.append([figure.add_axes((x / width, y / height, *size)) for x, y in places])
    for cell in chain.from_iterable(cells):
        cell.set_axis_off()
    return figure, cells


def caption(cell: "Axes", above: str, *, beneath: str = "") -> None:
    """Write above and beneath a cell; the texts' own lines are kept, and a $ is a $."""
    cell.set_title(_drawable(above), fontsize=SMALL, parse_math=False)
    if beneath:
        text = cell.text(0.5, -0.02, _drawable(beneath), fontsize=SMALL, ha="center", va="top")
        text.set_transform(cell.transAxes)
        text.set_parse_math(False)


def clipped(text: str) -> str:
    """The text with an ellipsis for what is beyond the space of a name."""
    text = _drawable(text)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _drawable(text: str) -> str:
    """The text without lone surrogates, as file names may hold them and no font can."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def encode_sheet(figure: "Figure") -> bytes:
    """The content of the sheet's PNG file."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that no font has
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": MARK})
    return buffer.getvalue()


def reduced_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a picture as it is drawn: the longer side is brought down, never up."""
    scale = min(1.0, _LONGEST_SIDE / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def reduced(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The picture as it is drawn."""
    h, w = reduced_size((pixels.shape[0], pixels.shape[1]))
    return np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.LANCZOS))


def cell_size(size_hw: tuple[int, int], area: float) -> tuple[float, float]:
    """Height and width in inches of a cell for a picture, of about the same area for any shape.

    Args:
        size_hw: Of the picture; one of a shape beyond 1 : 3 does not fill its cell.
        area: Square inches.
    """
    shape = min(max(size_hw[0] / size_hw[1], 1 / 3), 3.0)
    width = (area / shape) ** 0.5
    return width * shape, max(width, _NARROWEST)
