"""Several models on the same pictures, side by side: what they say, how long, in how much memory.

Each model runs in a process of its own (`compared_model.py`), one after the other: the memory of
one is then not in the peak of the next, and nothing that one has warmed up helps another. This
module needs no PyTorch.

Sizes: h x w a picture brought down to the size of the sheet.
"""

import json
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import UInt

from escnet.errors import ConfigError, NamesWarning, WeightsError, setting
from escnet.inference.methods.model_name import ModelName
from escnet.inference.options import SegmentOptions
from escnet.vocabulary import Vocabulary
from escnet.weights.catalog import require_local

FORMAT = 1  # of escnet.comparison.json; one that is to be read otherwise has a higher number
RESULTS_FILE = "results.json"
TIME_MEANS = (
    "seconds from the decoded picture to its label map, one run after one warm-up on the first "
    "picture; loading and the encoding of the names are not in it"
)
MEMORY_MEANS = (
    "most bytes of main memory that the model's own process held: interpreter, PyTorch, weights, "
    "picture and work; of a picture while it was segmented, of a model from its start, with loading"
)

_WORKER = "escnet.inference.figures.compared_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPicture:
    """One cell: what a model says of a picture.

    Attributes:
        labels: The label map, brought down to the size of the sheet.
        seconds: See `TIME_MEANS`.
        peak_memory: Bytes, see `MEMORY_MEANS`; None where the system does not tell.
        numbers: All of it and the names' shares, as plain values for JSON.
    """

    labels: UInt[np.ndarray, "h w"]
    seconds: float
    peak_memory: int | None
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedModel:
    """One column.

    Attributes:
        model: Its name.
        method: What kind of method it is.
        weights_hash: SHA-256 of its weights.
        settings: What moves a pixel, besides the weights and the names.
        load_seconds: How long it took to load.
        peak_memory: Bytes at most, with loading; None where the system does not tell.
        pictures: In the order in which they were given.
    """

    model: str
    method: str
    weights_hash: str
    settings: Mapping[str, Any]
    load_seconds: float
    peak_memory: int | None
    pictures: tuple[ComparedPicture, ...]

    @property
    def mean_seconds(self) -> float:
        """Seconds a picture."""
        return sum(picture.seconds for picture in self.pictures) / len(self.pictures)

    def summary(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Everything but the label maps, as plain values for JSON.

        Args:
            paths: The picture files, in the same order.
        """
        return {
            "model": self.model,
            "method": self.method,
            "weights_hash": self.weights_hash,
            "settings": dict(self.settings),
            "load_seconds": self.load_seconds,
            "mean_seconds": round(self.mean_seconds, 4),
            "peak_memory": self.peak_memory,
            "pictures": [
                {"picture": str(path), **picture.numbers}
                for path, picture in zip(paths, self.pictures, strict=True)
            ],
        }


def check_models(models: Sequence[str]) -> None:
    """Make sure that models can be compared and their weights are here, before any is loaded.

    Raises:
        ConfigError: If there is none, or one twice.
        WeightsError: If weights are not here and cannot be fetched.
    """
    if not models:
        raise ConfigError(f'no model is given: pass {setting("models")} "mini, training-free:mini"')
    for index, model in enumerate(models):
        if model in models[:index]:
            raise ConfigError(f"model {model!r} is named twice: leave one out")
    for model in models:
        for weights in ModelName.parse(model).parts:
            try:
                require_local(weights)
            except WeightsError as error:
                raise WeightsError(f"model {model}: {error.message}") from error


def compare_models(
    models: Sequence[str],
    pictures: Sequence[Path],
    vocabulary: Vocabulary,
    *,
    options: SegmentOptions = SegmentOptions(),  # noqa: B008 -- frozen
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
) -> Iterator[ComparedModel]:
    """Each model's column as soon as it is there.

    Args:
        models: Names, as `escnet.inference.methods.model_name` reads them.
        pictures: Files that can be read.
        vocabulary: The class names.
        options: How they segment.
        device: See `escnet.inference.machine.device`.
        dtype: What matrix products are computed in.
        threads: CPU threads; None for as many as the process may use.

    Raises:
        ConfigError: If a model cannot do what is asked of it; it is named.
    """
    for model in models:
        job = {
            "model": model,
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "pictures": [str(path) for path in pictures],
            "vocabulary": vocabulary.to_toml().decode("utf-8"),
            "background": vocabulary.has_background,
            "options": asdict(options),
        }
        with TemporaryDirectory(prefix="escnet-compare-") as folder:
            answer = _run({**job, "folder": folder})
            labels = [np.load(Path(folder, label_file(i))) for i in range(len(pictures))]
        cells = zip(answer.pop("results"), labels, strict=True)
        yield ComparedModel(
            model=model,
            pictures=tuple(
                ComparedPicture(
                    labels=label_map,
                    seconds=numbers["seconds"],
                    peak_memory=numbers["peak_memory"],
                    numbers=numbers,
                )
                for numbers, label_map in cells
            ),
            **answer,
        )


def label_file(index: int) -> str:
    """Name of the file for a picture's reduced label map."""
    return f"{index}.npy"


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a worker; its own messages are shown only if it dies."""
    done = subprocess.run(  # noqa: S603 -- our own module, by our own interpreter
        [sys.executable, "-P", "-m", _WORKER],  # -P: no module from the folder one is in
        input=json.dumps(job),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    model = job["model"]
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ConfigError(
            f"model {model} was killed ({name}), as happens when memory runs out: "
            "give smaller pictures or fewer class names"
        )
    if done.returncode:
        raise RuntimeError(f"the worker of model {model} failed:\n{done.stderr}")  # a bug of ours
    answer: dict[str, Any] = json.loads(
        Path(job["folder"], RESULTS_FILE).read_text(encoding="utf-8")
    )
    for told in answer.pop("warnings"):
        warnings.warn(told, NamesWarning, stacklevel=2)
    if "error" in answer:
        raise ConfigError(f"model {model}: {answer['error']}")
    return answer
