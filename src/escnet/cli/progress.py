"""How far a job of many pictures is: a bar on a terminal, plain lines elsewhere, both on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

_SECONDS_BETWEEN_LINES = 5.0


@runtime_checkable
class Report(Protocol):
    """What is said of a finished picture."""

    @property
    def status(self) -> str: ...


class PicturePace:
    """Rate and remaining time, from the pictures that took work; skipped ones take none.

    The first one has no say once there are others: the names are encoded with it.

    Args:
        total: How many there are.
        noun: What they are, in the plural.
    """

    def __init__(self, total: int, noun: str = "pictures") -> None:
        self.total = total
        self.noun = noun
        self.done = 0
        self._worked = 0
        self._start = time.monotonic()
        self._after_first = self._start

    def add(self, report: Report) -> None:
        """Count one more picture."""
        self.done += 1
        self._worked += report.status != "skipped"
        if self._worked <= 1:
            self._after_first = time.monotonic()

    def __str__(self) -> str:
        num, start = self._worked, self._start
        if num > 1:
            num, start = num - 1, self._after_first
        seconds = time.monotonic() - start
        if not num or not seconds:
            return "..."
        rate = num / seconds
        left = (self.total - self.done) / rate
        speed = f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} s each"
        return f"{speed}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


@contextmanager
def progress_display(
    total: int, pace: PicturePace | None = None
) -> Iterator[Callable[[Report], None]]:
    """Give a function that is called with each picture's report and shows how far the job is.

    Args:
        total: Pictures in the job; of a single one nothing is shown.
        pace: Counts them, and says what stands beside the count.
    """
    pace = pace or PicturePace(total)
    if total < 2:
        yield pace.add
    elif sys.stderr.isatty():
        with _bar(pace) as show:
            yield show
    else:
        yield _lines(pace)


def _lines(pace: PicturePace) -> Callable[[Report], None]:
    last = -_SECONDS_BETWEEN_LINES  # the first picture is told of at once

    def show(report: Report) -> None:
        nonlocal last
        pace.add(report)
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{pace.done} of {pace.total} {pace.noun}, {pace}", file=sys.stderr, flush=True)

    return show


@contextmanager
def _bar(pace: PicturePace) -> Iterator[Callable[[Report], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=pace.total, pace="...")

        def show(report: Report) -> None:
            pace.add(report)
            progress.update(task, advance=1, pace=str(pace))

        yield show
