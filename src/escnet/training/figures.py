"""What a run shows of itself: its curves, and a sheet of answers beside the truth."""

import math
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from escnet.annotations.overlay import draw_overlay
from escnet.data.image import read_image
from escnet.files import MARK
from escnet.training.validation import LabelledAnswer

_CELL_HEIGHT = 240  # pixels
_MARGIN = 6
_QUALITY = 88
_WINDOW = 0.02  # of all steps: what a point of the smooth curve is the mean of


def encode_curves(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG of a run's log.

    Args:
        entries: Its lines, as `run_log.read_log` gives them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 -- slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    steps = [entry for entry in entries if "loss" in entry]
    scores = [entry for entry in entries if "miou" in entry.get("scores", {})]
    figure = Figure(figsize=(8, 6), dpi=100)
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    number = np.array([entry["step"] for entry in steps])
    loss = np.array([entry["loss"] for entry in steps], float)
    top.plot(number, loss, color="0.8", linewidth=0.8)
    top.plot(number, smoothed(loss, round(_WINDOW * len(loss))), color="C0", label="loss")
    top.set_ylabel("loss")
    if scores:
        right = top.twinx()
        right.plot(
            [entry["step"] for entry in scores],
            [100 * entry["scores"]["miou"] for entry in scores],
            "o-",
            color="C1",
        )
        right.set_ylabel("validation mIoU (%)", color="C1")
    bottom.plot(number, [entry["rate"] for entry in steps], color="C2")
    bottom.ticklabel_format(axis="y", scilimits=(0, 0))
    bottom.set_ylabel("rate")
    bottom.set_xlabel("step")
    # An automatic layout draws everything twice, and the labels are always these.
    figure.subplots_adjust(left=0.1, right=0.9, top=0.97, bottom=0.09, hspace=0.14)
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": MARK})
    return content.getvalue()


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Each value's mean with those before it, at most `width` in all.

    Args:
        values: In order.
        width: 0 and 1 leave them as they are.
    """
    width = max(1, min(width, len(values)))
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - width)
    return (total[end] - total[start]) / (end - start)


def encode_answer_sheet(answers: Iterable[LabelledAnswer]) -> bytes:
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


def _row(answer: LabelledAnswer) -> Image.Image:
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
