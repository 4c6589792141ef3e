import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from escnet.cli import progress
from escnet.cli.progress import progress_display


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def lines(
    clock: Clock, seconds: list[float], capsys: pytest.CaptureFixture[str], status: str = "done"
) -> Iterator[tuple[float, str]]:
    """What is printed as each picture is finished, with the time that is left in truth."""
    with progress_display(len(seconds)) as show:
        for number, taken in enumerate(seconds, 1):
            clock.now += taken
            show(SimpleNamespace(status=status))
            yield sum(seconds[number:]), capsys.readouterr().err


def test_the_first_picture_is_told_of_at_once_and_then_every_five_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [bool(line) for _, line in lines(clock, [2.0] * 8, capsys)]
    assert told == [True, False, False, True, False, False, True, False]


def test_after_ten_pictures_the_time_left_is_that_of_pictures_without_the_first(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = [12.0, *[0.8, 1.2] * 14, 1.0]  # with the first one the names are encoded
    for number, (left, line) in enumerate(lines(clock, seconds, capsys), 1):
        if number >= 10 and line:
            said = re.search(r"(\d+) s left", line)
            assert said
            assert float(said[1]) == pytest.approx(left, rel=0.3, abs=1)


def test_skipped_pictures_take_no_time(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert "1 of 2 pictures, ..." in next(lines(clock, [0.1, 0.1], capsys, "skipped"))[1]
