import sys
from pathlib import Path

import pytest

from escnet.cli.progress import PicturePace, progress_display
from escnet.inference.jobs.segment_job import PictureReport

WRITTEN = PictureReport(picture=Path("a.jpg"), status="written")
SKIPPED = PictureReport(picture=Path("b.jpg"), status="skipped")


def test_rate_and_remaining_time_of_a_hand_computed_job(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("escnet.cli.progress.time.monotonic", lambda: now)
    pace = PicturePace(total=100)
    now = 110.0
    pace.add(WRITTEN)
    assert str(pace) == "10.0 s each, 16 min 30 s left"
    for _ in range(19):
        pace.add(WRITTEN)
    now = 119.5
    assert str(pace) == "2.0 a second, 40 s left"
    now = 186.0
    assert str(pace) == "4.0 s each, 5 min 20 s left"


def test_skipped_pictures_do_not_raise_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("escnet.cli.progress.time.monotonic", lambda: now)
    pace = PicturePace(total=1000)
    for _ in range(500):
        pace.add(SKIPPED)
    now = 10.0
    assert str(pace) == "..."
    pace.add(WRITTEN)
    assert str(pace) == "10.0 s each, 1 h 23 min left"


def test_without_a_terminal_there_are_plain_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("escnet.cli.progress.time.monotonic", lambda: now)
    with progress_display(20) as show:
        for _ in range(20):
            now += 1
            show(WRITTEN)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{n} of 20 pictures, 1.0 a second, {20 - n} s left" for n in (1, 6, 11, 16)
    ]


def test_after_ten_pictures_the_time_left_is_right_within_a_third(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("escnet.cli.progress.time.monotonic", lambda: now)
    seconds = [12.0, *[0.8, 1.2] * 14, 1.0]  # with the first picture the names are encoded
    told = 0
    with progress_display(len(seconds)) as show:
        for number, taken in enumerate(seconds, 1):
            now += taken
            show(WRITTEN)
            line = capsys.readouterr().err
            assert line or number > 1
            if line and number >= 10:
                told += 1
                left = float(line.rpartition(", ")[2].split()[0])
                assert left == pytest.approx(sum(seconds[number:]), rel=0.3, abs=1)
    assert told == 4


def test_a_terminal_gets_a_bar_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress_display(2) as show:
        show(WRITTEN)
        show(WRITTEN)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/2" in err


def test_a_single_picture_has_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display(1) as show:
        show(WRITTEN)
    assert capsys.readouterr() == ("", "")
