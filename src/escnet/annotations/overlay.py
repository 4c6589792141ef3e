"""A picture washed with the colours of its classes, outlined, with a legend at its side.

The legend stands below a wide picture and to the right of any other, never on it. It is written
in Pillow's built-in font; a name that this font lacks letters for is written in a font of the
system that has them, else without its accents, and as a last resort with boxes and its index.
"""

import unicodedata
from collections.abc import Collection, Sequence
from functools import cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt, UInt8
from PIL import Image, ImageDraw, ImageFont

from escnet.annotations.palette import name_colours
from escnet.annotations.summary import label_counts
from escnet.files import MARK

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_MOST_ENTRIES = 24
_LONGEST_NAME = 36  # characters; a longer one ends in an ellipsis
_WIDE = 1.15  # width over height from which the legend stands below
_LONGEST_JPEG_SIDE = 65_000  # JPEG ends at 65,535; the legend needs a little
_PANEL = (255, 255, 255)
_INK = (32, 33, 36)
_FAINT_INK = (110, 113, 119)
_VOID_SWATCH = (178, 180, 184)
_OUTLINE = 0.85  # how much of a region's rim is white
_OUTLINES_THICKER = 2  # than rims between washed regions
_BAND_PIXELS = 4_000_000  # drawn at once
_SYSTEM_FONTS = (  # by what they cover; each is looked for where the system keeps its fonts
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
    "PingFang.ttc",
)


class _Entry(NamedTuple):
    text: str
    percent: str
    colour: tuple[int, int, int] | None  # None: a line without a swatch
    label: int | None = None


def draw_overlay(
    picture: UInt8[np.ndarray, "H W 3"],
    label_map: UInt[np.ndarray, "H W"],
    names: Sequence[str],
    *,
    opacity: float = 0.55,
    legend: bool = True,
    colours: UInt8[np.ndarray, "N 3"] | None = None,
    outlines: bool = False,
    only: Collection[str] = (),
) -> UInt8[np.ndarray, "H_out W_out 3"]:
    """The picture in its own resolution with its classes in colour, and the legend beside it.

    Args:
        picture: The picture that was segmented.
        label_map: Indices into `names`; any other value is void and shows the picture in grey.
        names: Class names in index order.
        opacity: Share of the colour in the wash, from 0 (picture alone) to 1 (colour alone).
        legend: Whether to add the legend; without it the size stays that of the picture.
        colours: Those of the names; the ones that suit them if None.
        outlines: Whether to draw the classes' outlines alone, in their colours.
        only: The names to show, if not all; elsewhere the picture stays as it is.
    """
    colours = name_colours(names) if colours is None else colours
    shown = _Selection.of(label_map.dtype, names, only)
    height, width = label_map.shape
    drawn_hw, panel, corner = (height, width), None, (0, 0)
    if legend:
        panel = _legend((height, width), _entries(label_map, names, colours, shown))
        corner = (height, 0) if _has_legend_below(height, width) else (0, width)
        drawn_hw = (
            max(height, corner[0] + panel.shape[0]),
            max(width, corner[1] + panel.shape[1]),
        )
    drawn = np.full((*drawn_hw, 3), _PANEL, np.uint8)
    if panel is not None:
        drawn[corner[0] :, corner[1] :][: panel.shape[0], : panel.shape[1]] = panel
    # In bands, so that of a picture of 100 megapixels nothing but the result is held whole.
    step = max(1, _BAND_PIXELS // width)
    thickness = _rim_thickness((height, width)) * (_OUTLINES_THICKER if outlines else 1)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        labels = shown.labels(label_map[max(0, top - thickness) : rows.stop])
        rim = _rims(labels, thickness=thickness)[min(top, thickness) :]
        labels = labels[min(top, thickness) :]
        if outlines:
            drawn[rows, :width] = _outlined(picture[rows], labels, rim, colours)
        else:
            is_hidden = shown.is_hidden(label_map[rows])
            drawn[rows, :width] = _washed(picture[rows], labels, rim, colours, opacity, is_hidden)
    return drawn


def draw_key(
    size_hw: tuple[int, int], names: Sequence[str], colours: UInt8[np.ndarray, "N 3"]
) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
    """The names with their colours, the same for all frames of a film, and whether it goes below.

    Args:
        size_hw: Height and width of the frames.
        names: Class names in index order.
        colours: Theirs.
    """
    entries = [
        _Entry(_clipped(name), "", _rgb(colours[index]), index)
        for index, name in enumerate(names[:_MOST_ENTRIES])
    ]
    if len(names) > _MOST_ENTRIES:
        entries.append(_Entry(f"+ {len(names) - _MOST_ENTRIES} more", "", None))
    return _legend(size_hw, entries), _has_legend_below(*size_hw)


class _Selection(NamedTuple):
    """Which values of a label map are drawn: a value for each, and whether it is hidden."""

    table: UInt[np.ndarray, " values"] | None  # None: all of them
    hidden: Bool[np.ndarray, " values"] | None

    @classmethod
    def of(
        cls, dtype: "np.dtype[np.unsignedinteger]", names: Sequence[str], only: Collection[str]
    ) -> "_Selection":
        if not only:
            return _EVERYTHING
        void = np.iinfo(dtype).max
        hidden = np.ones(void + 1, dtype=bool)
        hidden[[index for index, name in enumerate(names) if name in only]] = False
        return cls(np.where(hidden, void, np.arange(void + 1)).astype(dtype), hidden)

    def labels(self, label_map: UInt[np.ndarray, "H W"]) -> UInt[np.ndarray, "H W"]:
        """The label map with void in place of what is hidden."""
        return label_map if self.table is None else self.table[label_map]

    def is_hidden(self, label_map: UInt[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"] | None:
        """True where the picture stays as it is; None if it does nowhere."""
        return None if self.hidden is None else self.hidden[label_map]


_EVERYTHING = _Selection(None, None)


def _outlined(
    picture: UInt8[np.ndarray, "H W 3"],
    label_map: UInt[np.ndarray, "H W"],
    rim: Bool[np.ndarray, "H W"],
    colours: UInt8[np.ndarray, "N 3"],
) -> UInt8[np.ndarray, "H W 3"]:
    canvas = Image.fromarray(picture)
    canvas.paste(_wash(label_map, colours), mask=Image.fromarray(rim & (label_map < len(colours))))
    return np.asarray(canvas)


def _washed(
    picture: UInt8[np.ndarray, "H W 3"],
    label_map: UInt[np.ndarray, "H W"],
    rim: Bool[np.ndarray, "H W"],
    colours: UInt8[np.ndarray, "N 3"],
    opacity: float,
    is_hidden: Bool[np.ndarray, "H W"] | None,
) -> UInt8[np.ndarray, "H W 3"]:
    photo = Image.fromarray(picture)
    canvas = Image.blend(photo, _wash(label_map, colours), opacity)
    is_void = label_map >= len(colours)
    if is_hidden is not None:
        canvas.paste(photo, mask=Image.fromarray(is_hidden))
    elif is_void.any():
        canvas.paste(photo.convert("L").convert("RGB"), mask=Image.fromarray(is_void))
    white = Image.fromarray(rim).convert("L").point(lambda value: int(value * _OUTLINE))
    canvas.paste((255, 255, 255), mask=white)
    return np.asarray(canvas)


def encode_overlay(overlay: UInt8[np.ndarray, "H W 3"], *, quality: int = 90) -> bytes:
    """The content of an overlay's JPEG file; a side beyond JPEG's limit is scaled down to it."""
    image = Image.fromarray(overlay)
    if max(image.size) > _LONGEST_JPEG_SIDE:
        image.thumbnail((_LONGEST_JPEG_SIDE, _LONGEST_JPEG_SIDE), Image.Resampling.BOX)
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=quality, subsampling=0, comment=MARK)
    return buffer.getvalue()


def _wash(label_map: UInt[np.ndarray, "H W"], colours: UInt8[np.ndarray, "N 3"]) -> Image.Image:
    if label_map.dtype == np.uint8:  # Pillow's palettes are several times faster
        wash = Image.fromarray(label_map)
        wash.putpalette(colours.tobytes().ljust(768, b"\0"))
        return wash.convert("RGB")
    # void is painted over, so any colour will do
    return Image.fromarray(colours[np.minimum(label_map, len(colours) - 1)])  # (H, W, 3)


def _rim_thickness(size_hw: tuple[int, ...]) -> int:
    return max(1, round(min(size_hw) / 700))


def _rims(label_map: UInt[np.ndarray, "H W"], *, thickness: int) -> Bool[np.ndarray, "H W"]:
    rim = np.zeros(label_map.shape, dtype=bool)
    for offset in range(1, thickness + 1):
        rim[:, offset:] |= label_map[:, offset:] != label_map[:, :-offset]
        rim[offset:] |= label_map[offset:] != label_map[:-offset]
    return rim


def _entries(
    label_map: UInt[np.ndarray, "H W"],
    names: Sequence[str],
    colours: UInt8[np.ndarray, "N 3"],
    shown: _Selection = _EVERYTHING,
) -> list[_Entry]:
    counts = label_counts(label_map, len(names))
    if shown.hidden is not None:
        counts[:-1][shown.hidden[: len(names)]] = 0
        counts[-1] = 0
    shares = counts / max(label_map.size, 1)
    by_share = np.argsort(-counts[:-1], kind="stable")
    present = [int(index) for index in by_share if counts[index]]
    entries = [
        _Entry(_clipped(names[index]), _percent(shares[index]), _rgb(colours[index]), index)
        for index in present[:_MOST_ENTRIES]
    ]
    if len(present) > _MOST_ENTRIES:
        rest = shares[present[_MOST_ENTRIES:]].sum()
        entries.append(_Entry(f"+ {len(present) - _MOST_ENTRIES} more", _percent(rest), None))
    if counts[-1]:
        entries.append(_Entry("unlabelled", _percent(shares[-1]), _VOID_SWATCH))
    return entries or [_Entry("none of these names", "", None)]


def _rgb(colour: UInt8[np.ndarray, " 3"]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def _clipped(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1].rstrip() + "…"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def _has_legend_below(height: int, width: int) -> bool:
    return width >= _WIDE * height


def _legend(size_hw: tuple[int, int], entries: list[_Entry]) -> UInt8[np.ndarray, "h w 3"]:
    """The legend alone, in a size and columns that suit a picture of that size."""
    picture_h, picture_w = size_hw
    size = max(12, min(round((picture_w * picture_h) ** 0.5 / 34), 400))  # of the font
    lines = [_Line.of(entry, size) for entry in entries]
    cell = max(line.width for line in lines) + round(2.2 * size)  # with the gap to the next column
    pad, height = round(0.9 * size), round(1.65 * size)
    if _has_legend_below(picture_h, picture_w):
        columns = max(1, min((picture_w - 2 * pad + round(1.2 * size)) // cell, len(lines)))
    else:
        per_column = max(1, (picture_h - 2 * pad) // height)
        columns = -(-len(lines) // min(max(per_column, 8), len(lines)))
    rows = -(-len(lines) // columns)
    panel_wh = (columns * cell - round(1.2 * size) + 2 * pad, rows * height + 2 * pad)
    panel = Image.new("RGB", panel_wh, _PANEL)
    draw = ImageDraw.Draw(panel)
    for position, line in enumerate(lines):
        column, row = divmod(position, rows)
        line.draw(draw, pad + column * cell, pad + row * height, size)
    return np.asarray(panel)


class _Line(NamedTuple):
    """One entry of the legend, ready to draw."""

    entry: _Entry
    text: str
    font: Font
    percent_font: Font
    width: int

    @classmethod
    def of(cls, entry: _Entry, size: int) -> "_Line":
        text, font = writable_text(entry.text, size)
        if entry.label is not None and _lacks_letters(font, text):
            text = f"{text} (class {entry.label})"
        percent_font = _built_in_font(size)
        width = round(1.55 * size + font.getlength(text) + 0.6 * size)
        return cls(
            entry, text, font, percent_font, width + round(percent_font.getlength(entry.percent))
        )

    def draw(self, draw: ImageDraw.ImageDraw, left: int, top: int, size: int) -> None:
        middle = top + round(0.825 * size)
        if self.entry.colour is not None:
            box = (left, middle - size // 2, left + round(1.1 * size), middle + size // 2)
            draw.rounded_rectangle(box, radius=max(1, size // 5), fill=self.entry.colour)
        start = left + round(1.55 * size)
        baseline = middle + round(0.36 * size)
        draw.text((start, baseline), self.text, fill=_INK, font=self.font, anchor="ls")
        after = start + round(self.font.getlength(self.text) + 0.6 * size)
        draw.text(
            (after, baseline),
            self.entry.percent,
            fill=_FAINT_INK,
            font=self.percent_font,
            anchor="ls",
        )


def writable_text(text: str, size: int) -> tuple[str, Font]:
    """The text, changed as little as possible, and a font that has its letters.

    Args:
        text: One line.
        size: Of the font, in pixels.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no glyph anywhere
    fonts = [_built_in_font(size)]
    if _lacks_letters(fonts[0], text):
        fonts += _system_fonts(size)
    for font in fonts:
        if not _lacks_letters(font, text):
            return text, font
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain, min(fonts, key=lambda font: _lacks_letters(font, plain))


@cache
def _built_in_font(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _system_fonts(size: int) -> list[Font]:
    fonts: list[Font] = []
    for name in _SYSTEM_FONTS:
        try:
            fonts.append(ImageFont.truetype(name, size))
        except OSError:  # not on this system
            continue
    return fonts


def _lacks_letters(font: Font, text: str) -> int:
    return sum(_lacks_letter(font, letter) for letter in set(text) if not letter.isspace())


@cache
def _lacks_letter(font: Font, letter: str) -> bool:
    """Whether the font draws its box for unknown letters, as for a code that no font has."""
    return bytes(font.getmask(letter)) == bytes(font.getmask("\U0010fffd"))
