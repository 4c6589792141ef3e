"""Broken pictures in training data: logged, counted, and too many of them refused."""

import logging
from collections.abc import Mapping

from escnet.errors import DatasetError

MOST = 0.01  # share of the pictures
MOST_ATTEMPTS = 20  # to draw a picture that is not broken
_FIRST_VERDICT = 1000  # pictures after which a share means something

_log = logging.getLogger(__name__)


class BrokenFiles:
    """What one process has met of them.

    Args:
        num_pictures: Of all sources.
    """

    def __init__(self, num_pictures: int) -> None:
        self._first_verdict = min(num_pictures, _FIRST_VERDICT)
        self._drawn: set[tuple[int, int]] = set()
        self._broken: dict[tuple[int, int], str] = {}

    def __len__(self) -> int:
        return len(self._broken)

    def reason_of(self, place: tuple[int, int]) -> str | None:
        """What was wrong with a picture; None if nothing was so far."""
        return self._broken.get(place)

    def count(self, place: tuple[int, int], broken: dict[tuple[int, int], str]) -> None:
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


def many_in_a_row(broken: Mapping[tuple[int, int], str]) -> DatasetError:
    """The error where one picture after the other was drawn in vain."""
    return DatasetError(
        f"{len(broken)} pictures in a row are broken (last: {list(broken.values())[-1]}): "
        "prepare the data again"
    )
