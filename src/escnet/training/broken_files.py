"""Broken pictures in training data: logged, counted, and too many of them refused."""

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from escnet.errors import DatasetError, EscnetError

MOST = 0.01  # share of the pictures
_MOST_ATTEMPTS = 20  # to draw a picture that is not broken
_FIRST_VERDICT = 1000  # pictures after which a share means something

SourceAndRow = tuple[int, int]  # index of a picture's source, and its index there
T = TypeVar("T")

_log = logging.getLogger(__name__)


class BrokenFiles:
    """What one process has met of them.

    Args:
        num_pictures: Of all sources.
    """

    def __init__(self, num_pictures: int) -> None:
        self._first_verdict = min(num_pictures, _FIRST_VERDICT)
        self._drawn: set[SourceAndRow] = set()
        self._broken: dict[SourceAndRow, str] = {}

    def __len__(self) -> int:
        return len(self._broken)

    def reason_of(self, place: SourceAndRow) -> str | None:
        """What was wrong with a picture; None if nothing was so far."""
        return self._broken.get(place)

    def count(self, place: SourceAndRow, broken: dict[SourceAndRow, str]) -> None:
        """Take note of a picture that was drawn, and of those that it replaces.

        Args:
            place: Index of its source, and its index there.
            broken: For the place of each picture that it replaces, what was wrong.

        Raises:
            DatasetError: If more than one in a hundred of the pictures drawn so far are broken.
        """
        self._drawn.update([place, *broken])
        for where, reason in broken.items():
            if where not in self._broken:
                self._broken[where] = reason
                _log.warning("left out: %s (%d so far)", reason, len(self._broken))
        if len(self._drawn) >= self._first_verdict:
            self._refuse_many()

    def _refuse_many(self) -> None:
        if len(self._broken) > MOST * len(self._drawn):
            reason = next(iter(self._broken.values()))
            raise DatasetError(
                f"{len(self._broken)} of {len(self._drawn)} pictures are broken, more than "
                f"{MOST:.0%} (first: {reason}): prepare the data again"
            )


def first_sound(
    draws: Iterable[tuple[SourceAndRow, Callable[[], T]]],
) -> tuple[SourceAndRow, T, dict[SourceAndRow, str]]:
    """Read the first of the pictures drawn that is not broken.

    Args:
        draws: For each picture its place, and what reads it. The next one is drawn only where the
            one before is broken.

    Returns:
        Its place, what was read, and for the place of each broken one before it what was wrong.

    Raises:
        DatasetError: If many in a row are broken.
    """
    broken: dict[SourceAndRow, str] = {}
    for place, read in islice(draws, _MOST_ATTEMPTS):
        try:
            return place, read(), broken
        except EscnetError as error:
            broken[place] = str(error)
    raise DatasetError(
        f"{len(broken)} pictures in a row are broken (last: {list(broken.values())[-1]}): "
        "prepare the data again"
    )
