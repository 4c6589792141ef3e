"""Asked to stop: a first signal lets the step finish, a second one ends the process at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 -- no error: what was asked for
    """A run that was asked to stop has saved its state.

    Attributes:
        signal_number: Who asked.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended."""
        return 128 + self.signal_number


class StopRequest:
    """Whether, and by which signal, the process was asked to stop; 0 for not."""

    signal_number = 0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take Ctrl-C and SIGTERM as a request, until the second one; only the main thread hears."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    earlier = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal_number = number
        for one, handler in earlier.items():
            signal.signal(one, handler)

    for number in STOP_SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
