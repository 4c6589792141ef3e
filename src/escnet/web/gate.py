"""How many requests may be inside at a time: waiting, computed, or still on their way here.

Who comes beyond that is refused before the body is read, so that memory has a bound.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from escnet.web.refusal import Refusal
from escnet.web.workers import Workers


class Gate:
    """Lets requests in, as long as there is room.

    Args:
        most: Requests inside.
        workers: Say how long the wait is.
    """

    def __init__(self, most: int, workers: Workers) -> None:
        self._most = most
        self._workers = workers
        self._num_inside = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be inside.

        Raises:
            Refusal: If there is no room, or the service is stopping.
        """
        if self._workers.is_stopping:
            raise Refusal(
                503, "the service is stopping: ask again when it is back", retry_after=10.0
            )
        if self._num_inside >= self._most:
            raise Refusal(
                503,
                f"{self._num_inside} requests are waiting, the most there may be: ask again",
                retry_after=self._workers.wait_estimate,
            )
        self._num_inside += 1
        try:
            yield
        finally:
            self._num_inside -= 1
