"""Broken pictures in training data: logged, counted, and too many of them refused."""

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

from escnet.errors import DatasetError, EscnetError

MOST = 0.01  # share of the pictures
_MOST_ATTEMPTS = 20  # to draw a picture that is not broken
_FIRST_VERDICT = 1000  # pictures after which a share means something

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")

_log = logging.getLogger(__name__)


class BrokenFiles:
    """What one process has met of them; pictures go by anything that tells them apart.

    Args:
        num_pictures: Of all sources.
    """

    def __init__(self, num_pictures: int) -> None:
        self._first_verdict = min(num_pictures, _FIRST_VERDICT)
        self._drawn: set[Hashable] = set()
        self._broken: dict[Hashable, str] = {}

    def __len__(self) -> int:
        return len(self._broken)

    def reason_of(self, picture: Hashable) -> str | None:
        """What was wrong with a picture; None if nothing was so far."""
        return self._broken.get(picture)

    def count(self, picture: Hashable, broken: Mapping[Any, str]) -> None:
        """Take note of a picture that was drawn, and of those that it replaces.

        Args:
            picture: The picture.
            broken: For each picture that it replaces, what was wrong.

        Raises:
            DatasetError: If more than one in a hundred of the pictures drawn so far are broken.
        """
        self._drawn.update([picture, *broken])
        for one, reason in broken.items():
            if one not in self._broken:
                self._broken[one] = reason
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


def first_sound(pictures: Iterable[Key], read: Callable[[Key], T]) -> tuple[Key, T, dict[Key, str]]:
    """Read the first of some pictures that is not broken.

    Args:
        pictures: In their order; the next one is drawn only where the one before is broken.
        read: Reads one, or raises an EscnetError.

    Returns:
        The picture, what was read, and for each broken one before it what was wrong.

    Raises:
        DatasetError: If many in a row are broken.
    """
    broken: dict[Key, str] = {}
    for picture in islice(pictures, _MOST_ATTEMPTS):
        try:
            return picture, read(picture), broken
        except EscnetError as error:
            broken[picture] = str(error)
    raise DatasetError(
        f"{len(broken)} pictures in a row are broken (last: {list(broken.values())[-1]}): "
        "prepare the data again"
    )
