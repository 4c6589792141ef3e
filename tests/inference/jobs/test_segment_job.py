import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.format import FormatOptions
from escnet.annotations.registry import FORMATS
from escnet.data.image import ReadPicture
from escnet.data.picture_file import PictureFile
from escnet.errors import ConfigError, ImageError, OutputError, VocabularyError
from escnet.inference.jobs import segment_job
from escnet.inference.jobs.segment_job import JobReport, PictureReport, SegmentJob
from escnet.inference.label_maps.windows import Windows
from escnet.inference.options import SegmentOptions
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
NAMES = Vocabulary.of(["red", "green", "blue"])


class ColourSegmenter:
    """Gives each pixel the name of the nearest colour: a segmenter that needs no weights."""

    def __init__(self, *, model: str = "colours", weights_hash: str = "0123") -> None:
        self.model = model
        self.weights_hash = weights_hash
        self.num_segmented = 0

    def result_settings(
        self, vocabulary: Vocabulary, options: SegmentOptions
    ) -> Mapping[str, object]:
        return {
            "distance": "city block",
            "levels": (1, 2),
            "void_below": options.void_below,
            "queries": vocabulary.queries,
            "is_cut": options.windows is not None,
        }

    def segment_pixels(
        self, pixels: np.ndarray, vocabulary: Vocabulary, options: SegmentOptions
    ) -> Segmentation:
        if pixels.shape[:2] == (7, 7):
            raise ImageError("picture of 7 x 7 pixels brings bad luck: choose another")
        self.num_segmented += 1
        colours = np.array([COLOURS[name] for name in vocabulary.labels])
        distance = np.abs(pixels[:, :, None].astype(int) - colours).sum(axis=-1)  # (H, W, N)
        labels = distance.argmin(axis=-1).astype(np.uint8)  # (H, W)
        confidence = (1 - distance.min(axis=-1) / 765).astype(np.float32)
        labels[confidence < options.void_below] = 255
        return Segmentation(
            label_map=labels, confidence=confidence, names=vocabulary.result_names,
            model=self.model, weights_hash=self.weights_hash,
            settings=self.result_settings(vocabulary, options),
        )  # fmt: skip


def picture(path: Path, colour: str = "red", size_wh: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh, COLOURS[colour]).save(path)
    return path


def job(paths: Iterable[Path], out: Path, **changes: Any) -> JobReport:
    segmenter = changes.pop("segmenter", None) or ColourSegmenter()
    on_progress = changes.pop("on_progress", None)
    names = changes.pop("names", NAMES)
    return SegmentJob.plan(paths, names, out=out, **changes).run(segmenter, on_progress)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def statuses(report: JobReport) -> list[str]:
    return [one.status for one in report.pictures]


def test_each_picture_gets_the_result_of_its_own_pixels(tmp_path: Path) -> None:
    colours = ["red", "green", "blue", "green", "red", "blue", "blue"]
    paths = [picture(tmp_path / "in" / f"{i}.png", colour) for i, colour in enumerate(colours)]
    report = job(paths, tmp_path / "out")
    assert [one.picture for one in report.pictures] == paths
    for i, colour in enumerate(colours):
        summary = json.loads((tmp_path / "out" / f"{i}.json").read_text())
        assert {e["name"]: e["share"] for e in summary["names"]}[colour] == 1.0
        assert report.pictures[i].summary["names"][0]["name"] == colour
    assert len(files_below(tmp_path / "out")) == 3 * len(colours)


def test_the_summary_holds_the_settings_that_the_result_came_with(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    job(
        [path],
        tmp_path,
        options=SegmentOptions(void_below=0.5, windows=Windows()),
        formats=["json"],
    )
    summary = json.loads((tmp_path / "a.json").read_text())
    assert summary["settings"] == {
        "distance": "city block",
        "levels": [1, 2],
        "void_below": 0.5,
        "queries": ["red", "green", "blue"],
        "is_cut": True,
    }


def test_the_summary_tells_which_file_it_is_of(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path, formats=["json"])
    assert json.loads((tmp_path / "a.json").read_text())["source"] == {
        "file": "a.png",
        "bytes": path.stat().st_size,
        "sha256": sha256(path.read_bytes()).hexdigest(),
    }


def test_pictures_and_formats_may_come_one_by_one(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(3)]
    job((path for path in paths), tmp_path / "out", formats=(kind for kind in ["json"]))
    assert list(files_below(tmp_path / "out")) == ["0.json", "1.json", "2.json"]


def test_a_bad_file_stops_nothing_and_is_listed(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(3)]
    (tmp_path / "in" / "bad.png").write_text("no picture")
    paths.insert(1, tmp_path / "in" / "bad.png")
    report = job(paths, tmp_path / "out")
    assert statuses(report) == ["written", "failed", "written", "written"]
    document = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert document["format"] == 1
    assert document["failures"] == [{"picture": str(paths[1]), "error": report.failures[0].error}]


def test_a_picture_that_cannot_be_segmented_fails_alone(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(3)]
    paths[1] = picture(tmp_path / "in" / "1.png", size_wh=(7, 7))
    report = job(paths, tmp_path / "out")
    assert statuses(report) == ["written", "failed", "written"]
    assert "bad luck" in report.failures[0].error


def test_the_list_of_failures_goes_when_there_are_none(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / "a.png"), tmp_path / "in" / "b.png"]
    paths[1].touch()
    job(paths, tmp_path / "out")
    assert (tmp_path / "out" / "failures.json").exists()
    picture(paths[1])
    job(paths, tmp_path / "out")
    assert not (tmp_path / "out" / "failures.json").exists()


@pytest.mark.parametrize("content", ["[1, 2]", "[" * 100_000, '{"failures": 3}', "no json"])
def test_a_foreign_failures_json_stays(tmp_path: Path, content: str) -> None:
    (tmp_path / "failures.json").write_text(content)
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(2)]
    with pytest.raises(OutputError, match=r"failures\.json is no result of escnet"):
        job(paths, tmp_path)
    assert statuses(job(paths[:1], tmp_path)) == ["written"]  # which has no list
    assert (tmp_path / "failures.json").read_text() == content


def test_nothing_is_computed_where_a_foreign_file_would_be_replaced(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(3)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.json").write_text('{"shapes": []}')
    segmenter = ColourSegmenter()
    with pytest.raises(OutputError, match=r"1\.json is no result of escnet"):
        job(paths, tmp_path / "out", segmenter=segmenter)
    assert files_below(tmp_path / "out") == {"1.json": b'{"shapes": []}'}
    assert segmenter.num_segmented == 0


def test_equal_stems_in_different_folders_are_mirrored(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f / "a.png", c) for f, c in [("x", "red"), ("y/z", "blue")]]
    job(paths, tmp_path / "out", formats=["json"])
    assert list(files_below(tmp_path / "out")) == ["x/a.json", "y/z/a.json"]


def test_resuming_skips_what_is_finished_and_makes_the_rest(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(4)]
    job(paths[:2], tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    report = job(paths, tmp_path / "out", resume=True)
    assert statuses(report) == ["skipped", "skipped", "written", "written"]
    assert report.pictures[0].summary["names"][0]["name"] == "red"
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_without_resume_everything_is_made_again(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path / "out")
    assert statuses(job([path], tmp_path / "out")) == ["written"]


@pytest.mark.parametrize(
    "changes",
    [
        {"segmenter": ColourSegmenter(model="other")},
        {"segmenter": ColourSegmenter(weights_hash="4567")},
        {"names": Vocabulary.of(["red", "blue", "green"])},
        {"names": Vocabulary.parse("red=red|crimson, green, blue")},
        {"options": SegmentOptions(void_below=0.25)},
        {"names": NAMES.with_background()},
    ],
)
def test_resuming_makes_again_what_another_job_made(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path / "out")
    assert statuses(job([path], tmp_path / "out", resume=True)) == ["skipped"]
    assert statuses(job([path], tmp_path / "out", resume=True, **changes)) == ["written"]
    assert statuses(job([path], tmp_path / "out", resume=True, **changes)) == ["skipped"]


@pytest.mark.parametrize("name", ["a.labels.png", "a.overlay.jpg", "a.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "zeros"])
def test_resuming_makes_again_what_is_not_whole(tmp_path: Path, name: str, damage: str) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path / "out")
    whole = files_below(tmp_path / "out")
    damaged = tmp_path / "out" / name
    if damage == "gone":
        damaged.unlink()
    else:
        content = damaged.read_bytes()
        start = content[:900]  # by which it is still known as a result
        damaged.write_bytes(content[:-9] if damage == "cut" else start.ljust(len(content), b"\0"))
    assert statuses(job([path], tmp_path / "out", resume=True)) == ["written"]
    assert files_below(tmp_path / "out") == whole


def test_resuming_makes_again_what_is_of_another_format(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path / "out")
    numbers = tmp_path / "out" / "a.json"
    numbers.write_bytes(numbers.read_bytes().replace(b'"format": 1', b'"format": 2'))
    assert statuses(job([path], tmp_path / "out", resume=True)) == ["written"]


@pytest.mark.parametrize("seconds", [-1_000_000, 1_000_000])
@pytest.mark.parametrize("size_wh", [(12, 8), (30, 20)])
def test_resuming_makes_again_what_is_of_another_picture_of_any_age(
    tmp_path: Path, seconds: int, size_wh: tuple[int, int]
) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path / "out")
    picture(path, "blue", size_wh)
    at = path.stat().st_mtime + seconds  # an old one comes with mv, cp -p, rsync or unzip
    os.utime(path, (at, at))
    report = job([path], tmp_path / "out", resume=True)
    assert statuses(report) == ["written"]
    assert report.pictures[0].summary["width"] == size_wh[0]
    assert report.pictures[0].summary["names"][0]["name"] == "blue"


def test_resuming_goes_by_the_picture_s_content_and_not_by_its_date(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path / "out")
    later = (tmp_path / "out" / "a.json").stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))
    assert statuses(job([path], tmp_path / "out", resume=True)) == ["skipped"]


@pytest.mark.parametrize("source", [None, "absent"])
def test_resuming_makes_again_what_does_not_tell_its_picture(
    tmp_path: Path, source: str | None
) -> None:
    path = picture(tmp_path / "a.png")
    job([path], tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "a.json").read_text())
    del summary["source"]  # as by earlier versions
    if source is None:  # as by `Segmentation.save` of an array
        summary["source"] = None
    (tmp_path / "out" / "a.json").write_text(json.dumps(summary, indent=2))
    assert statuses(job([path], tmp_path / "out", resume=True)) == ["written"]


def test_resuming_needs_the_summaries(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="json is not among the formats"):
        job([picture(tmp_path / "a.png")], tmp_path, resume=True, formats=["labels"])


@pytest.mark.parametrize("formats", [["gif"], []])
def test_formats_that_are_none_are_refused(tmp_path: Path, formats: list[str]) -> None:
    with pytest.raises(ConfigError, match="no format"):
        job([tmp_path / "a.png"], tmp_path / "out", formats=formats)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_the_job_and_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(20)]
    real, lock, num_synced = os.fsync, threading.Lock(), 0

    def fsync(file: int) -> None:
        nonlocal num_synced
        with lock:
            num_synced += 1
            if num_synced > 10:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    segmenter = ColourSegmenter()
    with pytest.raises(OutputError, match="no space left"):
        job(paths, tmp_path / "out", segmenter=segmenter)
    written = files_below(tmp_path / "out")
    assert len(written) == 10
    monkeypatch.undo()
    job(paths, tmp_path / "whole")
    assert written.items() <= files_below(tmp_path / "whole").items()


@pytest.mark.parametrize("name", ["n" * 250 + ".png", "b.png", "deep/b.png"])
def test_a_name_that_cannot_be_written_is_its_picture_s_failure(tmp_path: Path, name: str) -> None:
    paths = [picture(tmp_path / "in" / n) for n in ("a.png", name, "c.png")]
    out = tmp_path / "out"
    (out / "b.overlay.jpg").mkdir(parents=True)
    (out / "deep").touch()
    for resume, status in ((False, "written"), (True, "skipped")):
        report = job(paths, out, resume=resume)
        assert statuses(report) == [status, "failed", status]
        (failure,) = json.loads((out / "failures.json").read_text())["failures"]
        assert failure == {"picture": str(paths[1]), "error": report.failures[0].error}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_stops_a_job_leaves_the_list_of_what_failed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(4)]
    paths[0].write_bytes(b"")
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == "2.json":
            raise OSError(code, os.strerror(code))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OutputError, match=r"2\.json cannot be written"):
        job(paths, tmp_path / "out")
    (failure,) = json.loads((tmp_path / "out" / "failures.json").read_text())["failures"]
    assert failure["picture"] == str(paths[0])


def test_ctrl_c_keeps_what_is_finished_and_leaves_no_half_file(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(30)]

    def interrupt_at_the_fifth(_: PictureReport) -> None:
        interrupt_at_the_fifth.left -= 1  # type: ignore[attr-defined]
        if not interrupt_at_the_fifth.left:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    interrupt_at_the_fifth.left = 5  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        job(paths, tmp_path / "out", on_progress=interrupt_at_the_fifth)
    written = files_below(tmp_path / "out")
    job(paths, tmp_path / "whole")
    whole = files_below(tmp_path / "whole")
    assert 15 <= len(written) < len(whole)
    assert written.items() <= whole.items()


def test_progress_is_told_once_for_each_picture(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(7)]
    paths[3].write_bytes(b"")
    seen: list[PictureReport] = []
    report = job(paths, tmp_path / "out", on_progress=seen.append)
    assert sorted(one.picture for one in seen) == paths
    assert {one.status for one in seen} == {"written", "failed"}
    assert list(report.pictures) == sorted(seen, key=lambda one: one.picture)


def test_the_first_picture_is_told_of_before_the_second_is_made(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(3)]
    segmenter, told = ColourSegmenter(), []
    job(paths, tmp_path / "out", segmenter=segmenter,
        on_progress=lambda _: told.append(segmenter.num_segmented))  # fmt: skip
    assert told[0] == 1


def test_a_picture_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path / "a.png")
    opened: list[Path] = []
    real = Path.open

    def noting(self: Path, *args: Any, **options: Any) -> Any:
        opened.append(self)
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", noting)
    job([path], tmp_path / "out")
    assert opened.count(path) == 1


def test_only_a_few_pictures_are_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(30)]
    num_read, most_waiting = 0, 0
    real = PictureFile.read

    def counting(self: PictureFile, **options: Any) -> ReadPicture:
        nonlocal num_read
        num_read += 1
        return real(self, **options)

    class Watching(ColourSegmenter):
        def segment_pixels(self, *args: Any) -> Segmentation:
            nonlocal most_waiting
            result = super().segment_pixels(*args)
            most_waiting = max(most_waiting, num_read - self.num_segmented)
            return result

    monkeypatch.setattr(PictureFile, "read", counting)
    job(paths, tmp_path / "out", segmenter=Watching())
    assert num_read == 30
    assert most_waiting <= 4


def test_large_pictures_are_read_segmented_and_written_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(4)]
    steps: list[str] = []

    def noted(step: str, function: Any) -> Any:
        def noting(*args: Any, **options: Any) -> Any:
            steps.append(step)
            return function(*args, **options)

        return noting

    monkeypatch.setattr(segment_job, "_MOST_WAITING_PIXELS", 95)  # a pixel less than each has
    monkeypatch.setattr(segment_job, "_MOST_AHEAD_PIXELS", 95)
    monkeypatch.setattr(PictureFile, "read", noted("read", PictureFile.read))
    monkeypatch.setattr(segment_job._Work, "_write", noted("write", segment_job._Work._write))
    segmenter = ColourSegmenter()
    monkeypatch.setattr(segmenter, "segment_pixels", noted("segment", segmenter.segment_pixels))
    job(paths, tmp_path / "out", segmenter=segmenter)
    assert steps == ["read", "segment", "write"] * 4


def test_results_wait_until_earlier_ones_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_job, "_MOST_WAITING_PIXELS", 96 * 2)
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(12)]
    real, saved, most_waiting = segment_job._Work._write, 0, 0

    def write(*args: Any) -> PictureReport:
        nonlocal saved, most_waiting
        most_waiting = max(most_waiting, segmenter.num_segmented - saved)
        report = real(*args)
        saved += 1
        return report

    monkeypatch.setattr(segment_job._Work, "_write", write)
    segmenter = ColourSegmenter()
    job(paths, tmp_path / "out", segmenter=segmenter)
    assert saved == 12
    assert most_waiting <= 5


KILLED_JOB = """
import os, runpy, sys, threading
from pathlib import Path
here, pictures, out = sys.argv[1:]
home = runpy.run_path(here)
real, lock, calls = os.fsync, threading.Lock(), iter(range(1000))
def fsync(file):
    with lock:
        if next(calls) == 20:  # in the middle of a file
            print("now", flush=True)
            sys.stdin.read()
    real(file)
os.fsync = fsync
home["job"](sorted(Path(pictures).iterdir()), Path(out))
"""


def test_a_killed_job_is_resumed_to_the_same_files(tmp_path: Path) -> None:
    for i, colour in enumerate(["red", "green", "blue"] * 5):
        picture(tmp_path / "in" / f"{i:02}.png", colour, (300, 200))
    paths, out = sorted((tmp_path / "in").iterdir()), tmp_path / "out"
    command = [sys.executable, "-c", KILLED_JOB, __file__, str(tmp_path / "in"), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.kill()
    assert list(out.glob(".*.part"))
    report = job(paths, out, resume=True)
    assert set(statuses(report)) == {"skipped", "written"}
    job(paths, tmp_path / "whole")
    assert files_below(out) == files_below(tmp_path / "whole")


def test_files_about_the_folder_hold_every_finished_picture_in_its_order(tmp_path: Path) -> None:
    paths = [
        picture(tmp_path / "in" / name, c) for name, c in [("a.png", "red"), ("x/b.png", "blue")]
    ]
    paths.insert(1, tmp_path / "in" / "bad.png")
    paths[1].write_text("no picture")
    report = job(paths, tmp_path / "out", formats=["coco", "csv", "json"])
    assert statuses(report) == ["written", "failed", "written"]
    assert report.whole_files == {
        "coco": [tmp_path / "out" / "coco" / "instances.json"],
        "csv": [tmp_path / "out" / "folder.csv"],
    }
    document = json.loads((tmp_path / "out" / "coco" / "instances.json").read_text())
    assert [(i["id"], i["file_name"]) for i in document["images"]] == [(1, "a.png"), (3, "x/b.png")]
    assert [(a["image_id"], a["category_id"]) for a in document["annotations"]] == [(1, 1), (3, 3)]


def test_a_resumed_job_ends_with_the_whole_files_of_one_that_was_never_stopped(
    tmp_path: Path,
) -> None:
    colours = ["red", "green", "blue", "red"]
    paths = [picture(tmp_path / "in" / f"{i}.png", c) for i, c in enumerate(colours)]
    formats = [kind for kind, form in FORMATS.items() if form.whole] + ["json"]
    job(paths, tmp_path / "at-once", formats=formats)

    class StoppedError(Exception):
        pass

    def stop_after_two(_: PictureReport) -> None:
        if len(list((tmp_path / "out").glob("*.json"))) >= 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        job(paths, tmp_path / "out", formats=formats, on_progress=stop_after_two)
    assert not (tmp_path / "out" / "coco" / "instances.json").exists()
    report = job(paths, tmp_path / "out", formats=formats, resume=True)
    assert "skipped" in statuses(report)
    assert files_below(tmp_path / "out") == files_below(tmp_path / "at-once")


def test_a_part_that_is_gone_or_changed_is_made_again(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{i}.png") for i in range(3)]
    formats = ["coco", "masks", "json"]
    job(paths, tmp_path / "out", formats=formats)
    before = files_below(tmp_path / "out")
    (tmp_path / "out" / "coco" / "parts" / "0.json").unlink()
    (tmp_path / "out" / "1.masks" / "000-red.png").write_bytes(b"")  # not the format's first file
    report = job(paths, tmp_path / "out", formats=formats, resume=True)
    assert statuses(report) == ["written", "written", "skipped"]
    assert files_below(tmp_path / "out") == before


def test_other_options_of_formats_make_files_anew(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / "a.png")]
    job(paths, tmp_path / "out", formats=["coco", "json"])
    again = {"formats": ["coco", "json"], "resume": True}
    assert statuses(job(paths, tmp_path / "out", **again)) == ["skipped"]
    rle = FormatOptions(shape="rle")
    assert statuses(job(paths, tmp_path / "out", format_options=rle, **again)) == ["written"]
    document = json.loads((tmp_path / "out" / "coco" / "instances.json").read_text())
    assert isinstance(document["annotations"][0]["segmentation"], dict)


def test_names_that_a_format_or_an_overlay_cannot_have_are_told_before_anything(
    tmp_path: Path,
) -> None:
    paths = [picture(tmp_path / "in" / "a.png")]
    with pytest.raises(ConfigError, match="cvat-xml"):
        job(paths, tmp_path / "out", names=Vocabulary.of(["a:b"]), formats=["cvat-mask"])
    with pytest.raises(VocabularyError, match="'pink' to show"):
        job(paths, tmp_path / "out", format_options=FormatOptions(only=("pink",)))
    assert not (tmp_path / "out").exists()


def test_geojson_is_placed_by_the_world_file_beside_the_picture(tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "a.png")
    path.with_suffix(".pgw").write_text("2 0 0 -2 101 199")
    job([path], tmp_path / "out", formats=["geojson"])
    (feature,) = json.loads((tmp_path / "out" / "a.geojson").read_text())["features"]
    assert sorted(map(tuple, feature["geometry"]["coordinates"][0][:-1])) == [
        (100, 184),
        (100, 200),
        (124, 184),
        (124, 200),
    ]
