"""The result of an evaluation: its numbers, and everything that moves them, as one JSON file."""

import json
import math
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import escnet
from escnet.errors import ConfigError
from escnet.evaluation.protocol import EvalProtocol
from escnet.evaluation.reliability import Reliability
from escnet.files import MARK_KEY, display_path, write_file
from escnet.small_file import SmallFile

FORMAT = 1  # of the file; one that is to be read otherwise has a higher number
_MOST_DENSE = 200  # classes; the matrix of more is mostly zeros
_RESULT = SmallFile(
    noun="result", error=ConfigError, cure="give a file that `escnet evaluate` wrote"
)


class ResultSection(BaseModel):
    """A section of a result's JSON: never changed, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataUsed(ResultSection):
    """The pictures that were counted.

    Attributes:
        root: Name of the folder.
        num_pictures: How many.
        checksum: SHA-256 over their names, files and label maps.
    """

    root: str
    num_pictures: int
    checksum: str


class ModelUsed(ResultSection):
    """The model that was asked.

    Attributes:
        name: What it was loaded by.
        method: How it segments.
        weights_hash: SHA-256 of its weights.
        settings: What else moves a pixel.
        trained_on: Class names that it has seen labelled; None where that is not known.
    """

    name: str
    method: str
    weights_hash: str
    settings: dict[str, Any]
    trained_on: list[str] | None = None


class SparseMatrix(ResultSection):
    """The cells of a confusion matrix that are not zero: true class, predicted class, pixels."""

    rows: list[int]
    columns: list[int]
    counts: list[int]


class ClassScore(ResultSection):
    """The scores of one class; None for a class absent from the truth.

    Attributes:
        name: The class name.
        iou: Intersection over union.
        accuracy: Share of its pixels that were found.
        boundary_iou: IoU of the bands along its outlines.
        pixels: In the truth.
    """

    name: str
    iou: float | None
    accuracy: float | None
    boundary_iou: float | None
    pixels: int


class PictureScore(ResultSection):
    """The scores of one picture; None where no pixel is labelled.

    Attributes:
        stem: The picture's name.
        miou: Mean IoU over the classes in its truth.
        pixel_accuracy: Share of its labelled pixels that got the right class.
        seconds: From the decoded picture to its label map.
    """

    stem: str
    miou: float | None
    pixel_accuracy: float | None
    seconds: float


class SkippedPicture(ResultSection):
    """A picture that could not be used, and why."""

    stem: str
    reason: str


class EvalResult(ResultSection):
    """What `escnet evaluate` writes for one benchmark or source.

    Attributes:
        format: Of this file.
        benchmark: The benchmark, or the folder's source.
        data: The pictures.
        model: The model.
        protocol: How it was asked and scored.
        deviations: Where that leaves the benchmark's own protocol, as "field: its value -> ours".
        versions: Of the software.
        seconds: From decoded pictures to their label maps, in sum; reading is not in it.
        peak_memory: Most bytes of main memory of this process.
        classes: The class names that were scored, in label order.
        confusion: Pixels by true class (row) and predicted class (column).
        unanswered: Pixels with a true class for which none was predicted; they count as wrong.
        scores: The scores of `metrics.SCORES`, None where not defined.
        intervals: Where a score lies in 95 of 100 resamples of the pictures.
        per_class: In label order.
        pictures: In the benchmark's order.
        skipped: Pictures that count in nothing above.
        reliability: The columns of `Reliability`; None where the answers have no confidence.
    """

    format: int = Field(default=FORMAT, ge=1, le=FORMAT)
    benchmark: str
    data: DataUsed
    model: ModelUsed
    protocol: EvalProtocol
    deviations: list[str]
    versions: dict[str, str]
    seconds: float
    peak_memory: int | None
    classes: list[str]
    confusion: list[list[int]] | SparseMatrix
    unanswered: int = Field(default=0, ge=0)
    scores: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    per_class: list[ClassScore]
    pictures: list[PictureScore]
    skipped: list[SkippedPicture]
    reliability: dict[str, list[int]] | None = None

    @field_validator("reliability")
    @classmethod
    def _is_reliability(cls, lists: dict[str, list[int]] | None) -> dict[str, list[int]] | None:
        try:
            return None if lists is None else Reliability.from_lists(lists).as_lists()
        except KeyError as lack:
            raise ValueError(f"it lacks {lack}") from None

    @property
    def calibration(self) -> Reliability | None:
        """How far the confidence of the answers can be relied on; None if it is not known."""
        return None if self.reliability is None else Reliability.from_lists(self.reliability)

    @property
    def headline(self) -> float | None:
        """The mIoU under the protocol's rule."""
        return self.scores[self.protocol.headline]

    def matrix(self) -> Int[np.ndarray, "N N"]:
        """The confusion matrix, true classes in rows."""
        if not isinstance(self.confusion, SparseMatrix):
            return np.array(self.confusion, np.int64).reshape(len(self.classes), -1)
        matrix = np.zeros((len(self.classes),) * 2, np.int64)
        matrix[self.confusion.rows, self.confusion.columns] = self.confusion.counts
        return matrix

    def write(self, path: str | Path) -> None:
        """Write the result as JSON, a line for each field.

        Raises:
            OutputError: If the file cannot be written.
        """
        fields = {MARK_KEY: escnet.__version__, **self.model_dump(mode="json")}.items()
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields)
        write_file(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())

    @classmethod
    def read(cls, path: str | Path) -> "EvalResult":
        """The result in a file.

        Raises:
            ConfigError: If the file cannot be read or is no such result.
        """
        path = Path(path)
        try:
            # not pydantic's own parser, which refuses names of pictures that are not UTF-8
            fields = _RESULT.object_of(path)
            fields.pop(MARK_KEY, None)
            _check_format(fields, path)
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise ConfigError(
            f"{display_path(path)} is no result of `escnet evaluate` ({reason}): "
            "give a file that it wrote"
        )


def _check_format(fields: Mapping[str, Any], path: Path) -> None:
    number = fields.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise ConfigError(
            f"{display_path(path)} has the format {number}, and this version reads {FORMAT}: "
            "install a later version of escnet"
        )


def to_confusion(matrix: Int[np.ndarray, "N N"]) -> list[list[int]] | SparseMatrix:
    """The matrix as it is stored: nested lists of up to 200 classes, sparse with more."""
    if len(matrix) <= _MOST_DENSE:
        return matrix.tolist()
    rows, columns = np.nonzero(matrix)
    return SparseMatrix(
        rows=rows.tolist(), columns=columns.tolist(), counts=matrix[rows, columns].tolist()
    )


def to_values(numbers: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers for JSON, which has no NaN."""
    return {name: to_value(number) for name, number in numbers.items()}


def to_value(number: Any) -> float | None:
    """A number for JSON; NaN, which it does not have, is None."""
    return None if math.isnan(number) else float(number)


def software_versions() -> dict[str, str]:
    """The versions of what computes a score."""
    versions = {"escnet": escnet.__version__, **_versions_of(("torch", "transformers", "numpy"))}
    return {**versions, "python": platform.python_version(), "platform": platform.platform()}


def _versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Those that are installed; a model that was exported is scored without PyTorch."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
