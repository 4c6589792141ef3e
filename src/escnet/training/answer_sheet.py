"""A sheet of validation pictures: each as it is, as the network labels it, and as it should be."""

from collections.abc import Iterable
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from escnet.annotations.overlay import draw_overlay
from escnet.data.image import read_image
from escnet.training.validation import Answer

_CELL_HEIGHT = 240  # pixels
_MARGIN = 6
_QUALITY = 88


def encode_answer_sheet(answers: Iterable[Answer]) -> bytes:
    """A JPEG with a row for each answer: picture, answer, truth; what has no label is grey."""
    rows = [_row(answer) for answer in answers]
    width = max((row.width for row in rows), default=1)
    height = sum(row.height for row in rows) + _MARGIN * (len(rows) + 1)
    sheet = Image.new("RGB", (width + 2 * _MARGIN, height), "white")
    top = _MARGIN
    for row in rows:
        sheet.paste(row, (_MARGIN, top))
        top += row.height + _MARGIN
    content = BytesIO()
    sheet.save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()


def _row(answer: Answer) -> Image.Image:
    picture = read_image(answer.item.image_path)
    cells = [_cell(picture)]
    for label_map in (answer.prediction, answer.truth):
        # Whatever is no class is void, also an ignore index beyond 16 bits.
        labels = np.minimum(label_map, len(answer.names)).astype(np.uint16)
        cells.append(_cell(draw_overlay(picture, labels, answer.names)))
    height = max(cell.height for cell in cells)
    row = Image.new("RGB", (sum(cell.width + _MARGIN for cell in cells), height), "white")
    left = 0
    for cell in cells:
        row.paste(cell, (left, 0))
        left += cell.width + _MARGIN
    return row


def _cell(pixels: UInt8[np.ndarray, "_ _ 3"]) -> Image.Image:
    image = Image.fromarray(pixels)
    width = max(1, round(image.width * _CELL_HEIGHT / image.height))
    return image.resize((width, _CELL_HEIGHT), Image.Resampling.LANCZOS)
