"""Saved states of a run: written whole or not at all, the newest few and the best one kept.

A state holds everything that changes from step to step: what is trained, its running mean, the
buffers, the optimiser, the loss scaler. Data and chance follow from the step's number.
"""

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from escnet.errors import ConfigError, OutputError, WeightsError
from escnet.files import make_folder, remove_leftovers, replace_file
from escnet.small_file import SmallFile
from escnet.weights.tensor_file import load_pickle

STATES_FOLDER = "states"
_NAME = "step-{:08}.pt"
_BEST = "best.pt"
_BEST_SCORE = "best.json"
_SCORE = SmallFile(noun="", error=ConfigError, cure="delete it", most_bytes=2**16)
_MOST_SHOWN = 4  # in a message
# Settings that may differ from one part of a run to the next, as they change no loss.
_FREE = (
    "recipe.records",
    "recipe.training.save_every",
    "recipe.pictures.workers",
    "network.transformers_version",
)


class SavedStates:
    """The states of one run.

    Args:
        run: The run's folder.
        keep: How many of the newest are kept.
    """

    def __init__(self, run: Path, keep: int) -> None:
        self.folder = run / STATES_FOLDER
        self._keep = keep

    def paths(self) -> list[Path]:
        """The states that are there, the oldest first; somebody's copy of one is none."""
        paths = sorted(self.folder.glob("step-*.pt"))
        return [path for path in paths if path.stem.removeprefix("step-").isdecimal()]

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write a state, then drop the oldest beyond the number to keep.

        Raises:
            OutputError: If it cannot be written; the earlier ones are untouched then.
        """
        path = make_folder(self.folder) / _NAME.format(step)
        content = io.BytesIO()
        torch.save(dict(state), content)
        replace_file(path, content.getvalue())
        remove_leftovers(self.folder, [other.name for other in self.paths()])
        for old in self.paths()[: -self._keep]:
            old.unlink(missing_ok=True)
        return path

    def mark_best(self, step: int, score: float) -> bool:
        """Keep the state of that step as the best, if its score is above the best one's.

        Raises:
            OutputError: If it cannot be written.
        """
        best = self.best()
        if best is not None and best["miou"] >= score:
            return False
        part = self.folder / f".{_BEST}.part"
        try:
            part.unlink(missing_ok=True)
            _link(self.folder / _NAME.format(step), part)
            # A kill between the two files leaves a state without a score, and no wrong pair.
            (self.folder / _BEST_SCORE).unlink(missing_ok=True)
            part.replace(self.folder / _BEST)
        except OSError as error:
            with suppress(OSError):  # half a copy would take up what space there is
                part.unlink(missing_ok=True)
            raise OutputError(
                f"{self.folder / _BEST} cannot be written ({(error.strerror or str(error)).lower()}"
                "): free some space, or choose another folder with --out"
            ) from error
        record = json.dumps({"step": step, "miou": score})
        replace_file(self.folder / _BEST_SCORE, record.encode())
        return True

    def best(self) -> dict[str, Any] | None:
        """Step and score of the best state; None if there is none."""
        with suppress(ConfigError):
            record = _SCORE.object_of(self.folder / _BEST_SCORE)
            if isinstance(record.get("step"), int) and isinstance(record.get("miou"), float | int):
                return record
        return None

    def forget_best_after(self, step: int) -> None:
        """Drop the best state if it lies beyond a step, from which the run goes on.

        At step 0 it is that of an earlier run in this folder. One without a score goes as well.
        """
        best = self.best()
        if best is None or best["step"] > step:
            (self.folder / _BEST_SCORE).unlink(missing_ok=True)
            (self.folder / _BEST).unlink(missing_ok=True)

    def newest_step(self) -> int | None:
        """Of the newest state, by its name; None if there is none."""
        return int(paths[-1].stem.removeprefix("step-")) if (paths := self.paths()) else None

    def load_newest(self) -> dict[str, Any] | None:
        """The newest state; None if there is none.

        Raises:
            WeightsError: If it is damaged.
        """
        if not (paths := self.paths()):
            return None
        try:
            state = load_pickle(paths[-1])
            if not isinstance(state, dict) or "step" not in state:
                raise ValueError("no step in it")
        except Exception as error:
            way_out = (
                f"delete it, and --resume goes on from {paths[-2].name}"
                if len(paths) > 1
                else "delete it, and --resume starts the run anew"
            )
            reason = (str(error).splitlines() or ["empty"])[0][:80]
            raise WeightsError(f"state {paths[-1]} is damaged ({reason}): {way_out}") from error
        return state


def check_shared(path: Path, steps: Sequence[int | None]) -> None:
    """Compare the newest states that the processes of a run have found.

    Args:
        path: Of the run's folder, for the message.
        steps: One for each process; None where there was no state.

    Raises:
        ConfigError: If they differ.
    """
    if len(set(steps)) > 1:
        shown = ", ".join(
            f"{'none' if step is None else f'step {step}'} in process {rank}"
            for rank, step in list(enumerate(steps))[:_MOST_SHOWN]
        )
        raise ConfigError(
            f"the processes find different newest states in {path} ({shown}"
            f"{', and so on' if len(steps) > _MOST_SHOWN else ''}): "
            "give a run folder that all machines share"
        )


def check_same(path: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compare what a state was saved for with what is wanted of it.

    Args:
        path: Of the state, for the message.
        saved: Its recipe and identity.
        wanted: Those of the run at hand.

    Raises:
        ConfigError: If they differ; the settings that do are named, with both values.
    """
    lines = sorted(
        f"{key.removeprefix('recipe.')}: {_short(one)} there, {_short(other)} here"
        for key, one, other in differences(saved, wanted)
        if not key.startswith(_FREE)
    )
    if lines:
        shown = "; ".join(lines[:_MOST_SHOWN])
        if (num_more := len(lines) - _MOST_SHOWN) > 0:
            shown += f"; and {num_more} more"
        raise ConfigError(
            f"the run in {path} was another one ({shown}): "
            "give another run folder, or the same recipe"
        )


def differences(one: Any, other: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Keys at which two nested tables differ, with both values; in a list they count from 0."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in one.keys() | other.keys():
            inner = f"{key}.{name}".lstrip(".")
            yield from differences(one.get(name), other.get(name), inner)
    elif one != other:
        yield key, one, other


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _link(path: Path, other: Path) -> None:
    """A second name for a file, or a copy where the disk knows no second names."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
