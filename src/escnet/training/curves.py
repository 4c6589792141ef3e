"""The curves of a run as one picture: loss and rate over the steps, and the scores on the way."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from escnet.files import MARK

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
    bottom.set_ylabel("rate")
    bottom.set_xlabel("step")
    figure.set_layout_engine("constrained")
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
