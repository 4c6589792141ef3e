"""A sheet of validation pictures: each as it is, as the network labels it, and as it should be."""

import math
from collections.abc import Iterable
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from escnet.annotations.overlay import draw_overlay
from escnet.data.image import read_image
from escnet.files import MARK
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
    sheet.save(content, "JPEG", quality=_QUALITY, comment=MARK)
    return content.getvalue()


def _row(answer: Answer) -> Image.Image:
    picture = read_image(answer.item.image_path)
    times = math.ceil(_CELL_HEIGHT / picture.shape[0])  # a legend wants a picture of some size
    picture = _enlarged(picture, times)
    scale = _CELL_HEIGHT / picture.shape[0]
    cells = [_scaled(picture, scale)]
    for label_map in (answer.prediction, answer.truth):
        # Whatever is no class is void, also an ignore index beyond 16 bits.
        labels = np.minimum(label_map, len(answer.names)).astype(np.uint16)
        overlay = draw_overlay(picture, _enlarged(labels, times), answer.names)
        cells.append(_scaled(overlay, scale))  # its legend lies outside the picture
    height = max(cell.height for cell in cells)
    row = Image.new("RGB", (sum(cell.width + _MARGIN for cell in cells), height), "white")
    left = 0
    for cell in cells:
        row.paste(cell, (left, 0))
        left += cell.width + _MARGIN
    return row


def _scaled(pixels: UInt8[np.ndarray, "_ _ 3"], scale: float) -> Image.Image:
    image = Image.fromarray(pixels)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _enlarged(pixels: np.ndarray, times: int) -> np.ndarray:
    return pixels.repeat(times, axis=0).repeat(times, axis=1)
