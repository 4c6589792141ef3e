import json
import sys
from pathlib import Path

import pytest

from escnet.cli.main import run
from tests.video.made_films import read_film, square_frames, write_film

TINY = ["--classes", "sky, car, road", "--model", "tiny"]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "walk.dat", square_frames(3))


def test_a_film_is_known_by_its_content(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = film.parent / "out"
    assert run(["segment", str(film), *TINY, "--out", str(out), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["films"]
    assert (told["frames"], told["settings"]["smooth"] > 0) == (3, True)
    labels, _ = read_film(out / "walk.film" / "labels.mkv")
    assert labels[0].shape == (32, 48)


def test_a_film_that_breaks_off_is_told_and_the_code_is_one(
    film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_film(film, square_frames(20))
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    arguments = ["segment", str(film), *TINY, "--out", str(film.parent), "--keyframes", "9"]
    assert run(arguments) == 1
    told = capsys.readouterr().err
    assert "walk.dat is damaged or broke off (" in told
    assert (film.parent / "walk.film" / "overlay.mp4").is_file()


def test_without_pyav_the_extra_is_named(
    film: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert run(["segment", str(film), *TINY, "--out", str(film.parent)]) == 2
    assert "av is not installed: pip install 'escnet[video]'" in capsys.readouterr().err


def test_two_films_of_one_name_are_refused(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (film.parent / "b").mkdir()
    other = write_film(film.parent / "b" / "walk.mp4", square_frames(1))
    assert run(["segment", str(film), str(other), *TINY, "--out", str(film.parent)]) == 2
    assert "two films would both be written to" in capsys.readouterr().err


def test_a_stream_that_nobody_serves_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "rtsp://127.0.0.1:9/door"
    assert run(["segment", address, *TINY, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "127.0.0.1:9/door cannot be opened (connection refused): check the address" in error
    assert error.count("\n") == 1
