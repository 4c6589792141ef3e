"""A contact sheet as pictures: pages of small overlays as PNG files, to print or to send.

They are put together from the same parts as the HTML one, in the same order.
"""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from PIL import Image, ImageColor, ImageDraw
from PIL.PngImagePlugin import PngInfo

from escnet.annotations.contact_sheet import CONTACT_SHEET, page_name, sheet_pages
from escnet.annotations.format import FolderResults, WholeFile
from escnet.annotations.overlay import writable_text
from escnet.files import MARK

_COLUMNS, _ROWS = 5, 6  # of a page
_SIDE = 320  # pixels of a cell's width, as the parts have them
_GAP, _LINE, _FONT = 20, 20, 14  # pixels
_MOST_NAMES = 4  # below a picture, a line each
_PAPER, _INK, _FAINT_INK = (255, 255, 255), (32, 33, 36), (95, 99, 104)


class _Cell(NamedTuple):
    """One picture with what stands below it."""

    image: Image.Image
    path: str
    part: dict[str, Any]

    @property
    def height(self) -> int:
        names = min(len(self.part["names"]), _MOST_NAMES)
        return self.image.height + (2 + names) * _LINE

    def draw(self, page: Image.Image, left: int, top: int) -> None:
        page.paste(self.image, (left, top))
        draw = ImageDraw.Draw(page)
        top += self.image.height
        _write(draw, (left, top), self.path, _SIDE)
        doubt = f"{self.part['doubtful_share']:.1%} doubtful"
        _write(draw, (left, top + _LINE), doubt, _SIDE, _FAINT_INK)
        for line, entry in enumerate(self.part["names"][:_MOST_NAMES], 2):
            y = top + line * _LINE
            swatch = (left, y + 4, left + _FONT, y + 4 + _FONT)
            draw.rectangle(swatch, fill=ImageColor.getrgb(entry["color"]))
            text = f"{entry['share']:.1%}  {entry['name']}"
            _write(draw, (left + _LINE, y), text, _SIDE - _LINE)


def _write(
    draw: ImageDraw.ImageDraw,
    left_top: tuple[int, int],
    text: str,
    width: int,
    ink: tuple[int, int, int] = _INK,
) -> None:
    """Write a line, cut off at a width."""
    text, font = writable_text(text, _FONT)
    while font.getlength(text) > width:
        text = text.removesuffix("…")[:-1] + "…"
    draw.text(left_top, text, fill=ink, font=font)


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    for page, shown in enumerate(sheet_pages(finished, _COLUMNS * _ROWS)):
        yield WholeFile(page_name(page, "png"), [_encode(_drawn(_cells(shown)))])


def _cells(finished: FolderResults) -> list[_Cell]:
    cells = []
    for place, content in CONTACT_SHEET.parts(finished):
        part = json.loads(content)
        image = Image.open(io.BytesIO(base64.b64decode(part["overlay"])))
        cells.append(_Cell(image, place.picture_path, part))
    return cells


def _drawn(cells: Sequence[_Cell]) -> Image.Image:
    rows = [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
    heights = [max(cell.height for cell in row) + _GAP for row in rows]
    size = (_GAP + _COLUMNS * (_SIDE + _GAP), _GAP + sum(heights))
    page = Image.new("RGB", size, _PAPER)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            cell.draw(page, _GAP + column * (_SIDE + _GAP), top)
        top += height
    return page


def _encode(page: Image.Image) -> bytes:
    buffer, mark = io.BytesIO(), PngInfo()
    mark.add_text("Software", MARK)
    page.save(buffer, "PNG", pnginfo=mark)
    return buffer.getvalue()


CONTACT_SHEET_PNG = replace(
    CONTACT_SHEET,
    about="the contact sheet as pages of 30 pictures, PNG: printers, chats, slides",
    whole_paths=("contact-sheet.png",),
    use="Look at contact-sheet.png, beside this folder; it is put together from these parts.",
    whole=_whole,
)
