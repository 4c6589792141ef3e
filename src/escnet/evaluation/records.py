"""Records of finished pictures, kept on disk while an evaluation runs for hours.

One line of JSON for each picture, under a first line that says what run it belongs to. A line is
added when its picture is finished, so a killed run loses at most the picture it was at, whose line
may be torn; the next run drops it. All scores, resamples and comparisons need only these records.
"""

import json
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

import escnet
from escnet.errors import ConfigError, OutputError
from escnet.evaluation.metrics import PictureCounts
from escnet.evaluation.reliability import Reliability
from escnet.files import MARK_KEY, display_path, write_file
from escnet.small_file import SmallFile

_RECORDS = SmallFile(
    noun="records", error=ConfigError, cure="delete the file, or choose another --out"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRecord:
    """What became of one picture.

    Attributes:
        stem: The picture's name.
        counts: What was counted; None for a picture that was skipped.
        seconds: Time of the model's answer.
        checksum: SHA-256 of the picture's file and of its label map.
        skipped: Why the picture was skipped.
        reliability: Of the answer's confidence; None if it is not known.
    """

    stem: str
    counts: PictureCounts | None
    seconds: float = 0.0
    checksum: str = ""
    skipped: str = ""
    reliability: Reliability | None = None

    def to_line(self) -> bytes:
        """One line of JSON, with its line break."""
        if self.counts is None:
            return _line({"stem": self.stem, "skipped": self.skipped})
        c = self.counts
        own = {} if self.reliability is None else {"reliability": self.reliability.as_lists()}
        return _line(
            {
                "stem": self.stem,
                "seconds": round(self.seconds, 4),
                "checksum": self.checksum,
                "pixels": c.num_pixels,
                "confusion": [c.truth.tolist(), c.predicted.tolist(), c.count.tolist()],
                "boundary": [
                    c.boundary_class.tolist(), c.boundary_both.tolist(), c.boundary_either.tolist(),
                ],
                **own,
            }
        )  # fmt: skip

    @classmethod
    def from_table(cls, table: Mapping[str, Any], num_classes: int) -> "PictureRecord":
        """The record that a line holds.

        Raises:
            KeyError, TypeError, ValueError: If it holds none of a run with so many classes.
        """
        if "skipped" in table:
            return cls(stem=table["stem"], counts=None, skipped=table["skipped"])
        truth, predicted, count = _columns(table["confusion"])
        classes, both, either = _columns(table["boundary"])
        num_pixels = operator.index(table["pixels"])
        last = max(np.concatenate([truth, classes]).max(initial=0), predicted.max(initial=0) - 1)
        if last >= num_classes:
            raise ValueError("a class beyond the last")
        if not count.sum() <= num_pixels or num_pixels < 1:
            raise ValueError("more pixels than the picture has")
        own = table.get("reliability")
        counts = PictureCounts(
            num_pixels=num_pixels,
            truth=truth,
            predicted=predicted,
            count=count,
            boundary_class=classes,
            boundary_both=both,
            boundary_either=either,
        )
        return cls(
            stem=table["stem"],
            counts=counts,
            seconds=float(table["seconds"]),
            checksum=table["checksum"],
            reliability=None if own is None else Reliability.from_lists(own),
        )


class RecordWriter:
    """A file of records that are added one by one."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path = path
        try:
            whole = _whole_bytes(path)
            self._file = path.open("ab")
            self._file.truncate(whole)  # a torn line of a killed run
            if not whole:
                self._write(_header_line(header))
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: PictureRecord) -> None:
        """Write one record.

        Raises:
            OutputError: If it cannot be written.
        """
        try:
            self._write(record.to_line())
        except OSError as error:
            raise self._failure(error) from error

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()

    def _failure(self, error: OSError) -> OutputError:
        reason = (error.strerror or str(error)).lower()
        return OutputError(
            f"{display_path(self._path)} cannot be written ({reason}): "
            "what is finished is kept; mend that and add --resume"
        )


def write_records(path: Path, header: Mapping[str, Any], records: Iterable[PictureRecord]) -> None:
    """Write a whole file of records at once.

    Raises:
        OutputError: If it cannot be written.
    """
    write_file(path, b"".join([_header_line(header), *(record.to_line() for record in records)]))


def read_header(path: Path) -> dict[str, Any] | None:
    """The first line without escnet's mark; None if there is no whole line.

    Raises:
        ConfigError: If it is not one of a records file.
    """
    header = next((table for _, table in _tables(path)), None)
    if header is not None:
        header.pop(MARK_KEY, None)
    return header


def read_records(path: str | Path) -> Iterator[PictureRecord]:
    """The records of a file, in their order; a torn last line is left out.

    Raises:
        ConfigError: If the file is missing or damaged.
    """
    path = Path(path)
    num_classes = 0
    for number, table in _tables(path):
        try:
            if number == 1:
                num_classes = len(table["classes"])
            else:
                yield PictureRecord.from_table(table, num_classes)
        except (KeyError, TypeError, ValueError):
            raise _damaged(path, number) from None


def first_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Where two headers differ, as "key is theirs, not ours"; None if they do not."""
    for key in (*ours, *theirs):
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            if (inner := first_difference(mine, other)) is not None:
                return f"{key}.{inner}"
        elif mine != other:
            return f"{key} is {_short(other)}, not {_short(mine)}"
    return None


def _tables(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _RECORDS.lines_of(path):
        table = _RECORDS.parsed_json(line, f"line {number} of {display_path(path)}")
        if not isinstance(table, dict):
            raise _damaged(path, number)
        yield number, table


def _damaged(path: Path, number: int) -> ConfigError:
    return ConfigError(
        f"line {number} of {display_path(path)} is no record of a picture: {_RECORDS.cure}"
    )


def _whole_bytes(path: Path) -> int:
    """How many bytes come before a torn last line."""
    if not os.path.lexists(path):
        return 0
    return sum(len(line) for _, line in _RECORDS.lines_of(path))


def _line(table: Mapping[str, Any]) -> bytes:
    return json.dumps(table, separators=(",", ":")).encode() + b"\n"


def _header_line(header: Mapping[str, Any]) -> bytes:
    """With the mark by which a later run knows the file."""
    return _line({MARK_KEY: escnet.__version__, **header})


def _columns(values: list[list[int]]) -> Int[np.ndarray, "3 K"]:
    """Three lists of equally many counts or classes."""
    columns = np.array(values)
    if not columns.size:
        columns = columns.astype(np.int64)
    if columns.shape != (3, len(values[0])) or columns.dtype != np.int64 or (columns < 0).any():
        raise ValueError("no three columns of whole numbers")
    return columns


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
