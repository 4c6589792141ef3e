"""Pieces of a film's results: some frames each, complete, with what the next piece needs.

The file with the state is written last, so a piece without one is not there.

Sizes: L labels, h x w their grid.
"""

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt, UInt8

from escnet.annotations.json_text import to_compact_json
from escnet.files import replace_file
from escnet.inference.label_maps.rest import Rest
from escnet.video.smoothing import State
from escnet.video.tracks import Track

PIECE_FRAMES = 25


class PiecesOnDisk(NamedTuple):
    """What is there of a film.

    Attributes:
        firsts: The first frame of each piece, in order and without gaps.
        num_frames: How many frames they have.
        state: What the next frame needs; None if nothing.
    """

    firsts: list[int]
    num_frames: int
    state: State | None


class FilmPieces:
    """Where a film's pieces lie.

    Args:
        folder: Escnet's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, first: int, *, has_overlay: bool) -> "Piece":
        """A piece that begins with this frame."""
        return Piece(self._folder, first, has_overlay=has_overlay)

    def finished(self) -> PiecesOnDisk:
        """The pieces that follow each other from the first frame on."""
        firsts: list[int] = []
        number, state = 0, None
        while (own := _read_state(self._folder / f"{number}.npz")) is not None:
            firsts.append(number)
            number, state = number + own[0], own[1]
        return PiecesOnDisk(firsts, number, state)

    def files(self, kind: str) -> list[Path]:
        """The pieces' films of a kind, "labels" or "overlay", in order."""
        return [self._folder / f"{first}.{kind}" for first in self.finished().firsts]

    def records(self) -> Iterator[dict[str, Any]]:
        """What is noted of each frame."""
        for path in self.files("jsonl"):
            for line in path.read_text("utf-8").splitlines():
                yield json.loads(line)


class Piece:
    """A piece under way.

    Args:
        folder: Where it lies.
        first: Its first frame.
        has_overlay: Whether it has an overlay.
    """

    def __init__(self, folder: Path, first: int, *, has_overlay: bool) -> None:
        self._folder, self._first = folder, first
        self._labels = Track(folder / f"{first}.labels", "ffv1")
        self._overlay = Track(folder / f"{first}.overlay", "libx264") if has_overlay else None
        self._records: list[Mapping[str, object]] = []

    def add(
        self,
        time: Fraction,
        label_map: UInt[np.ndarray, "H W"],
        overlay: UInt8[np.ndarray, "_ _ 3"] | None,
        record: Mapping[str, object],
    ) -> None:
        """One more frame.

        Raises:
            OutputError: If it cannot be written.
        """
        self._labels.add(label_map, time)
        if self._overlay is not None and overlay is not None:
            self._overlay.add(overlay, time)
        self._records.append(record)

    def finish(self, state: State | None) -> None:
        """Complete the piece.

        Args:
            state: What the next frame needs.

        Raises:
            OutputError: If it cannot be written.
        """
        self._labels.close()
        if self._overlay is not None:
            self._overlay.close()
        if not self._records:
            return
        lines = b"".join(to_compact_json(record) + b"\n" for record in self._records)
        replace_file(self._folder / f"{self._first}.jsonl", lines)
        content = _state_bytes(len(self._records), state)
        replace_file(self._folder / f"{self._first}.npz", content)


def _state_bytes(num_frames: int, state: State | None) -> bytes:
    values: dict[str, Any] = {"num_frames": num_frames}
    if state is not None:
        rest = state.rest
        values |= {
            "logits": state.logits,
            "grey": state.grey,
            "rest": [] if rest is None else [rest.floor, rest.present_from],
            "since_key": state.since_key,
        }
    buffer = BytesIO()
    np.savez(buffer, **values)
    return buffer.getvalue()


def _read_state(path: Path) -> tuple[int, State | None] | None:
    """How many frames a piece has, and its state; None if it is not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as held:
            number = int(held["num_frames"])
            if "logits" not in held:
                return number, None
            rest = held["rest"].tolist()
            state = State(
                held["logits"],
                held["grey"],
                Rest(*rest) if rest else None,
                int(held["since_key"]),
            )
            return number, state
    except (OSError, ValueError, LookupError, EOFError, BadZipFile):
        return None
