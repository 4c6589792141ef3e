"""The worker of a comparison: one model in a process of its own.

`python -m escnet.inference.figures.compared_model` reads a job as JSON from its standard input,
segments the pictures, and leaves its answer in the job's folder: label maps, brought down to the
size of the sheet, and last of all results.json. `comparison.py` starts it.

Sizes: H x W pixels, h x w the same brought down.
"""

import json
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from escnet.class_lists.names_file import read_names_file
from escnet.data.image import read_image
from escnet.errors import EscnetError, NamesWarning
from escnet.inference.figures.comparison import RESULTS_FILE, label_file
from escnet.inference.figures.sheet import reduced_size
from escnet.inference.label_maps.windows import Windows
from escnet.inference.machine.process_memory import forget_peak, peak_memory
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary


def measure_model(job: Mapping[str, Any]) -> dict[str, Any]:
    """Segment the pictures of a job and write the reduced label maps.

    The first picture is segmented once more beforehand: the first run allocates, encodes the names
    and warms up. Times are of everything from the decoded picture to its label map.

    Returns:
        The content of results.json.

    Raises:
        EscnetError: If the model cannot be loaded, or a picture cannot be read.
    """
    start = time.perf_counter()
    segmenter = Segmenter.load(
        job["model"], device=job["device"], dtype=job["dtype"], threads=job["threads"]
    )
    load_seconds = time.perf_counter() - start
    vocabulary = _vocabulary(job["vocabulary"], background=job["background"])
    options = _options(job["options"])
    results = []
    highest = peak_memory()
    for index, path in enumerate(job["pictures"]):
        pixels = read_image(path, max_pixels=options.max_pixels)
        if index == 0:
            segmenter.segment_pixels(pixels, vocabulary, options)
        highest = _larger(highest, peak_memory())
        is_own_peak = forget_peak()
        _forget_gpu_peak()
        start = time.perf_counter()
        result = segmenter.segment_pixels(pixels, vocabulary, options)
        seconds = time.perf_counter() - start
        highest = _larger(highest, peak_memory())
        results.append(
            {
                "seconds": round(seconds, 4),
                "peak_memory": peak_memory() if is_own_peak else None,
                "peak_gpu_memory": _gpu_peak(),
                **_of_result(result),
            }
        )
        np.save(Path(job["folder"], label_file(index)), sheet_labels(result.label_map))
    return {
        "method": segmenter.method.name,
        "weights_hash": segmenter.weights_hash,
        "settings": dict(result.settings),
        "load_seconds": round(load_seconds, 4),
        "peak_memory": highest,
        "results": results,
    }


def sheet_labels(label_map: UInt[np.ndarray, "H W"]) -> UInt[np.ndarray, "h w"]:
    """The labels at the centres of the sheet's pixels: labels cannot be averaged."""
    (H, W), (h, w) = label_map.shape, reduced_size((label_map.shape[0], label_map.shape[1]))
    rows = ((np.arange(h) + 0.5) * H / h).astype(int)
    columns = ((np.arange(w) + 0.5) * W / w).astype(int)
    return label_map[rows[:, None], columns]


def _options(fields: Mapping[str, Any]) -> SegmentOptions:
    windows = fields["windows"]
    return SegmentOptions(**{**fields, "windows": None if windows is None else Windows(**windows)})


def _vocabulary(text: str, *, background: bool) -> Vocabulary:
    vocabulary = Vocabulary.of(read_names_file(text, "names"))
    return vocabulary.with_background() if background else vocabulary


def _of_result(result: Segmentation) -> dict[str, Any]:
    summary = result.summary()
    return {key: summary[key] for key in ("height", "width", "void", "names")}


def _larger(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def _forget_gpu_peak() -> None:
    if (cuda := _cuda_in_use()) is not None:
        cuda.reset_peak_memory_stats()


def _gpu_peak() -> int | None:
    cuda = _cuda_in_use()
    return None if cuda is None else int(cuda.max_memory_allocated())


def _cuda_in_use() -> Any:
    """PyTorch's part for NVIDIA's cards, if this process computes on one."""
    cuda = sys.modules.get("torch.cuda")  # whoever has loaded no PyTorch uses none
    in_use = cuda is not None and cuda.is_available() and cuda.is_initialized()
    return cuda if in_use else None


def main() -> None:
    """Work off the job on standard input; an error of the caller's is an answer as well."""
    job = json.load(sys.stdin)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NamesWarning)
        try:
            answer = measure_model(job)
        except EscnetError as error:
            answer = {"error": error.message}
    told = [str(one.message) for one in caught if issubclass(one.category, NamesWarning)]
    answer["warnings"] = list(dict.fromkeys(told))
    Path(job["folder"], RESULTS_FILE).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
