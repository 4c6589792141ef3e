"""What a run leaves to look at: a line of JSON for each step, and events for TensorBoard.

A line has its step, and either what the step gave (loss, rate, seconds, the share of them spent
waiting for data), or the scores of the validation after it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from escnet.errors import ConfigError, OutputError
from escnet.files import display_path, replace_file
from escnet.small_file import SmallFile

LOG_FILE = "log.jsonl"
_EVENTS_FOLDER = "tensorboard"
_LOG = SmallFile(noun="log", error=ConfigError, cure="move it away, or choose another --out")


class RunLog:
    """The log of one run, open for appending.

    Args:
        run: The run's folder.
        tensorboard: Whether TensorBoard's events are written as well.
        first_step: That will be logged; TensorBoard forgets what an earlier run wrote from there.

    Raises:
        ConfigError: If they are wanted and the package is missing.
        OutputError: If the log or the events cannot be opened.
    """

    def __init__(self, run: Path, *, tensorboard: bool = False, first_step: int = 1) -> None:
        self._path, self._events_folder = run / LOG_FILE, run / _EVENTS_FOLDER
        try:
            self._events = _events(self._events_folder, first_step) if tensorboard else None
        except OSError as error:
            raise _unwritable(self._events_folder, error) from error
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            if self._events is not None:
                self._events.close()
            raise _unwritable(self._path, error) from error

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        problems: list[OutputError] = []
        for path, one in ((self._path, self._file), (self._events_folder, self._events)):
            try:
                if one is not None:
                    one.close()
            except OSError as problem:
                problems.append(_unwritable(path, problem))
        if problems and error is None:  # else the error on its way says what came first
            raise problems[0]

    def add(self, step: int, **values: Any) -> None:
        """Append a line; numbers among the values become TensorBoard's curves.

        Raises:
            OutputError: If the disk is full.
        """
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise _unwritable(self._path, error) from error
        if self._events is not None:
            try:
                for name, value in _numbers(values).items():
                    self._events.add_scalar(name, value, step)
            except OSError as error:  # of an earlier value: events are written by a thread
                raise _unwritable(self._events_folder, error) from error

    def flush(self) -> None:
        """Make sure of all lines so far, before a state counts on them.

        Raises:
            OutputError: If the disk is full.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"{path} cannot be written ({reason}): free some space, then --resume")


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last one that a killed process left unfinished is dropped.

    Raises:
        ConfigError: If it cannot be read, or another line is no JSON.
    """
    path = run / LOG_FILE
    if not os.path.lexists(path):
        return []
    shown = display_path(path)
    return [_LOG.parsed_json(line, f"line {n} of {shown}") for n, line in _LOG.lines_of(path)]


def forget_steps_after(run: Path, step: int) -> None:
    """Take from the log what was done after a state was saved, and will be done again.

    Raises:
        OutputError: If the log cannot be written.
    """
    kept = [entry for entry in read_log(run) if entry["step"] <= step]
    content = "".join(json.dumps(entry) + "\n" for entry in kept)
    replace_file(run / LOG_FILE, content.encode())


def _numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            numbers.update(_numbers(value, f"{prefix}{name}/"))
        elif isinstance(value, int | float):
            numbers[f"{prefix}{name}"] = float(value)
    return numbers


def _events(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 -- an optional package
    except ImportError as error:
        raise ConfigError(
            "records.tensorboard is true, but the package tensorboard is not installed: "
            "pip install 'escnet[tensorboard]', or leave it false"
        ) from error
    return SummaryWriter(str(folder), purge_step=first_step)
