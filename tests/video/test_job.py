import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from escnet.annotations.label_png import read_label_png
from escnet.errors import ConfigError, ImageError, OutputError
from escnet.inference.jobs.parts import PartReport
from escnet.inference.label_maps.windows import NATIVE
from escnet.inference.options import SegmentOptions
from escnet.video import job as job_module
from escnet.video.job import FilmJob
from escnet.video.source import Film
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_segmenter
from tests.video.made_films import read_film, square_frames, turn, write_film, write_silence

NAMES = Vocabulary.of(["red", "green", "blue"])


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "PIECE_FRAMES", 4)


@pytest.fixture
def job(tmp_path: Path) -> FilmJob:
    path = write_film(tmp_path / "walk.mp4", square_frames(10), has_sound=True)
    return FilmJob(film=Film(path), vocabulary=NAMES, out=tmp_path / "out")


def labels_of(job: FilmJob) -> np.ndarray:
    return np.stack(read_film(job.files["labels"])[0])


def test_without_smoothing_each_frame_gets_the_labels_of_its_picture(job: FilmJob) -> None:
    job = replace(job, smooth=0.0)
    job.run(colour_segmenter())
    expected = [
        colour_segmenter().segment_pixels(pixels, NAMES).label_map for pixels in square_frames(10)
    ]
    assert np.array_equal(labels_of(job), expected)


def test_a_film_of_a_varying_rate_keeps_its_times_and_its_sound(tmp_path: Path) -> None:
    times = [0, 0.04, 0.3, 0.31, 0.6, 1.2, 1.24]
    path = write_film(tmp_path / "a.mp4", square_frames(7), times, has_sound=True)
    job = FilmJob(film=Film(path), vocabulary=NAMES, out=tmp_path)
    summary = job.run(colour_segmenter()).summary
    for kind in ("labels", "overlay"):
        assert read_film(job.files[kind])[1] == pytest.approx(times, abs=1e-3)
    with av.open(str(job.files["overlay"])) as overlay:
        assert {track.type for track in overlay.streams} == {"video", "audio"}
    lines = (job.folder / "frames.jsonl").read_text().splitlines()
    assert [json.loads(line)["time"] for line in lines] == pytest.approx(times, abs=1e-3)
    assert json.loads(lines[0])["shares"]["green"] == pytest.approx(256 / 1536, abs=0.02)
    assert (summary["frames"], summary["fault"]) == (7, "")


def test_frames_are_turned_as_the_film_says(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", square_frames(3))
    turn(path)
    frames = [frame.pixels for frame in Film(path).frames()]
    assert np.array_equal(frames[0], np.rot90(square_frames(1)[0], -1))


def test_a_folder_of_pictures_is_a_film(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, pixels in enumerate(square_frames(11)):
        Image.fromarray(pixels).save(folder / f"{index}.png")  # 10 comes after 9
    job = FilmJob(film=Film(folder), vocabulary=NAMES, out=tmp_path, formats=("frames",))
    assert job.check() == 11
    job.run(colour_segmenter())
    label_map, names = read_label_png(job.files["frames"] / "000010.png")
    assert names == NAMES.labels
    assert np.array_equal(label_map, labels_of(job)[10])


def test_a_killed_run_goes_on_and_ends_with_the_same_labels(job: FilmJob, tmp_path: Path) -> None:
    whole = replace(job, out=tmp_path / "whole", smooth=0.8)
    whole.run(colour_segmenter())
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import os, signal; from pathlib import Path\n"
        "from tests.colour_method import colour_segmenter\n"
        "from escnet.video import job as module; module.PIECE_FRAMES = 4\n"
        "from escnet.video.source import Film\n"
        "from escnet.vocabulary import Vocabulary\n"
        "job = module.FilmJob(film=Film(sys.argv[2]), out=Path(sys.argv[3]), smooth=0.8,\n"
        "                     vocabulary=Vocabulary.of(['red', 'green', 'blue']))\n"
        "seen = []\n"
        "def stop(report):\n"
        "    seen.append(report)\n"
        "    if len(seen) == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "job.run(colour_segmenter(), stop)\n"
    )
    root = str(Path(__file__).parents[2])
    arguments = [sys.executable, "-c", code, root, job.film.source, str(job.out)]
    process = os.posix_spawn(sys.executable, arguments, os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    assert not job.files["labels"].exists()
    reports: list[PartReport] = []
    job = replace(job, resume=True, smooth=0.8)
    job.run(colour_segmenter(), reports.append)
    assert [report.status for report in reports] == ["skipped"] * 4 + ["written"] * 6
    assert np.array_equal(labels_of(job), labels_of(whole))
    assert not (job.folder / "parts").exists()
    assert job.run(colour_segmenter()).status == "skipped"


def test_of_a_film_that_breaks_off_the_part_before_is_there(tmp_path: Path) -> None:
    path = write_film(tmp_path / "cut.mp4", square_frames(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    job = FilmJob(film=Film(path), vocabulary=NAMES, out=tmp_path)
    report = job.run(colour_segmenter())
    assert report.fault
    assert 2 < report.summary["frames"] < 20
    assert len(labels_of(job)) == report.summary["frames"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\x20ftypisom" + bytes(100), r"a\.mp4 cannot be opened"),
        (b"", r"a\.mp4 cannot be opened"),
    ],
)
def test_what_is_no_film_is_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    job = FilmJob(film=Film(tmp_path / "a.mp4"), vocabulary=NAMES, out=tmp_path)
    with pytest.raises(ImageError, match=message):
        job.check()


def test_a_film_of_sound_alone_and_one_of_no_frames_are_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as out:
        write_silence(out, out.add_stream("flac", rate=16_000, layout="mono"))
    with pytest.raises(ImageError, match="has no pictures, only audio"):
        Film(tmp_path / "sound.mkv").check()
    path = write_film(tmp_path / "none.mp4", square_frames(2))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4])
    job = FilmJob(film=Film(path), vocabulary=NAMES, out=tmp_path)
    with pytest.raises(ImageError, match="has no frame that can be read"):
        job.run(colour_segmenter())


def test_what_a_film_cannot_have_is_told(job: FilmJob) -> None:
    with pytest.raises(ConfigError, match="none of a film's"):
        replace(job, formats=("coco",))
    with pytest.raises(ConfigError, match="seen as a whole"):
        replace(job, options=SegmentOptions(windows=NATIVE))
    with pytest.raises(ConfigError, match=r"0 \(off\) to 0\.95"):
        replace(job, smooth=1.0)
    with pytest.raises(ConfigError, match=r"1 \(all\) or more"):
        replace(job, keyframes=0)


def test_a_folder_of_somebody_else_is_left_alone(job: FilmJob) -> None:
    job.folder.mkdir(parents=True)
    (job.folder / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files that escnet did not write"):
        job.check()
