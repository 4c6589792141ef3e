"""Jobs on workers of which the driver or a worker is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from escnet.data.picture_file import PictureFile
from escnet.inference.jobs.outputs import existing_summary
from escnet.inference.jobs.segment_job import SegmentJob
from escnet.vocabulary import Vocabulary
from tests.bulk.workers import NAMES, ROOT, draw_pictures, segmenter_of_colours

NUM_PICTURES = 2000
_PATIENCE = 300.0  # seconds
_PROCESSES = Path("/proc")


def start(pictures: Path, out: Path, *, resume: bool) -> subprocess.Popen[str]:
    code = (
        "from tests.bulk.workers import segment_folder; "
        f"segment_folder({str(pictures)!r}, {str(out)!r}, resume={resume})"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "ESCNET_CACHE_MB": "0"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def num_finished(out: Path) -> int:
    return sum(1 for _ in out.glob("*.json"))


def workers_below(process: int) -> list[int]:
    """The processes of actors that a driver has started."""
    commands = {int(path.parent.name): _content(path) for path in _PROCESSES.glob("[0-9]*/cmdline")}
    return [
        actor
        for actor, command in commands.items()
        if command.startswith("ray::MapWorker") and _is_below(actor, process)
    ]


def _content(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended since
        return ""


def _is_alive(process: int) -> bool:
    return (_PROCESSES / str(process)).exists()


def _is_below(process: int, ancestor: int) -> bool:
    while process > 1:
        if process == ancestor:
            return True
        fields = _content(_PROCESSES / str(process) / "stat").rpartition(")")[2].split()
        process = int(fields[1]) if fields else 0
    return False


def check_no_half_file(pictures: list[Path], out: Path) -> None:
    """Every STEM.json that is there vouches for files that are there and whole."""
    for picture in pictures:
        summary = out / f"{picture.stem}.json"
        if summary.exists():
            with PictureFile(picture) as file:
                source = file.source._asdict()
            files = {"json": summary, "labels": out / f"{picture.stem}.labels.png"}
            assert existing_summary(source, files) is not None


def run_with_kills(folder: Path, num_kills: int) -> None:
    """Kill drivers and workers in turn, go on each time, and compare with one process."""
    pictures = draw_pictures(folder / "in", NUM_PICTURES)
    out = folder / "out"
    for kill in range(num_kills):
        driver = start(folder / "in", out, resume=kill > 0)
        goal = max(num_finished(out) + 1, (kill + 1) * NUM_PICTURES // (num_kills + 2))
        wait_until(lambda: num_finished(out) >= goal or driver.poll() is not None)  # noqa: B023
        assert driver.poll() is None, driver.communicate()[1]
        if kill % 2:
            os.kill(workers_below(driver.pid)[0], signal.SIGKILL)
            after = num_finished(out) + 64  # of the other worker, or of the one that was killed
            wait_until(lambda: num_finished(out) >= after or driver.poll() is not None)  # noqa: B023
        workers = workers_below(driver.pid)
        driver.kill()
        driver.communicate()
        wait_until(lambda: not any(map(_is_alive, workers)))  # noqa: B023
        check_no_half_file(pictures, out)
    before = num_finished(out)
    told, errors = start(folder / "in", out, resume=True).communicate()
    assert f"'skipped': {before}" in told, told + errors
    assert f"'written': {NUM_PICTURES - before}" in told
    alone = SegmentJob.plan(
        pictures, Vocabulary.of(NAMES), out=folder / "alone", formats=("labels", "json")
    )
    alone.run(segmenter_of_colours())
    made = {path.name: path.read_bytes() for path in out.iterdir()}
    assert made == {path.name: path.read_bytes() for path in (folder / "alone").iterdir()}
    assert len([json.loads(made[name]) for name in made if name.endswith("json")]) == NUM_PICTURES


@pytest.mark.slow
def test_a_job_whose_driver_and_worker_are_killed_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: make test-bulk")
    run_with_kills(tmp_path, 2)
