"""What a label map holds, in numbers: the content of STEM.json."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt

FORMAT = 1  # of STEM.json; one that is to be read otherwise has a higher number
_BLOCK = 1 << 20  # pixels counted at once: NumPy widens them to 8 bytes each


def label_counts(label_map: UInt[np.ndarray, "H W"], num_names: int) -> Int[np.ndarray, " counts"]:
    """Pixels of each class; the last entry counts the pixels without one."""
    labels = label_map.ravel()
    counts = np.zeros(np.iinfo(label_map.dtype).max + 1, dtype=np.int64)
    for start in range(0, labels.size, _BLOCK):
        counts += np.bincount(labels[start : start + _BLOCK], minlength=counts.size)
    return np.append(counts[:num_names], counts[num_names:].sum())


def mean_confidences(
    label_map: UInt[np.ndarray, "H W"], confidence: Float[np.ndarray, "H W"], num_names: int
) -> Float[np.ndarray, " N"]:
    """Mean confidence over each class's own pixels; NaN for a class that has none."""
    labels, weights = label_map.ravel(), confidence.ravel()
    total = np.zeros(np.iinfo(label_map.dtype).max + 1)
    for start in range(0, labels.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        total += np.bincount(labels[block], weights=weights[block], minlength=total.size)
    count = label_counts(label_map, num_names)[:num_names]
    return np.divide(total[:num_names], count, out=np.full(num_names, np.nan), where=count > 0)


def summarise(
    label_map: UInt[np.ndarray, "H W"],
    confidence: Float[np.ndarray, "H W"],
    names: Sequence[str],
    *,
    void_label: int,
    model: str,
    weights_hash: str,
    settings: Mapping[str, object],
    presence: Float[np.ndarray, " N"] | None = None,
) -> dict[str, Any]:
    """Plain values for JSON: size, each name's share and mean confidence, and what made them.

    Args:
        label_map: Indices into `names`, or `void_label`.
        confidence: Confidence of each pixel's own class.
        names: Class names in index order.
        void_label: Value of the pixels without a class.
        model: Name of the model.
        weights_hash: Digest of the model's weights.
        settings: Everything else that moves a pixel.
        presence: The probability that the picture shows each class; NaN or None if not known.

    Returns:
        Shares are fractions of all pixels; a name without a pixel has the mean confidence None, and
        one of unknown presence the presence None.
    """
    present = np.full(len(names), np.nan) if presence is None else presence
    counts = label_counts(label_map, len(names))
    shares = counts / max(label_map.size, 1)
    means = mean_confidences(label_map, confidence, len(names))
    return {
        "escnet": _version(),
        "format": FORMAT,
        "model": model,
        "weights_hash": weights_hash,
        "settings": dict(settings),
        "height": label_map.shape[0],
        "width": label_map.shape[1],
        "void": {"label": void_label, "share": round(float(shares[-1]), 6)},
        "names": [
            {
                "index": index,
                "name": name,
                "share": round(float(shares[index]), 6),
                "mean_confidence": round(float(means[index]), 4) if counts[index] else None,
                "presence": None if np.isnan(present[index]) else round(float(present[index]), 4),
            }
            for index, name in enumerate(names)
        ],
    }


@cache
def _version() -> str:
    return version("escnet")  # looked up among the installed packages: some 10 ms
