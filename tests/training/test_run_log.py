"""What a run leaves to look at: log, events, curves."""

import errno
import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.errors import ConfigError, OutputError
from escnet.training import run_log
from escnet.training.figures import encode_curves, smoothed
from escnet.training.recipe import Recipe
from escnet.training.run import train
from escnet.training.run_log import RunLog, forget_steps_after, read_log

MakeRecipe = Callable[..., Recipe]


def test_a_line_a_step_comes_back(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add(1, loss=0.5, rate=1e-4)
        log.add(1, scores={"miou": 0.25})
    assert read_log(tmp_path) == [
        {"step": 1, "loss": 0.5, "rate": 1e-4},
        {"step": 1, "scores": {"miou": 0.25}},
    ]


def test_a_line_that_a_killed_process_left_unfinished_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    assert [entry["step"] for entry in read_log(tmp_path)] == [1]


def test_steps_after_the_saved_one_are_forgotten(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.add(step, loss=1.0)
    forget_steps_after(tmp_path, 2)
    assert [entry["step"] for entry in read_log(tmp_path)] == [1, 2]


def test_a_log_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"log\.jsonl cannot be written \(is a directory\)"):
        RunLog(tmp_path)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def log_losses(log: RunLog, num_steps: int, error: Exception | None = None) -> None:
    with log:
        for step in range(num_steps):
            log.add(step, loss=1.0)
        if error is not None:
            raise error


@pytest.fixture
def quiet_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The thread that writes events tells of its end in its own way, too: not to a later test."""
    before = set(threading.enumerate())
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)


@pytest.mark.usefixtures("quiet_threads")
@pytest.mark.parametrize("num_steps", [1, 1000])  # few enough for the thread's queue, and too many
def test_a_full_disk_under_the_events_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_steps: int
) -> None:
    records = pytest.importorskip("tensorboard.summary.writer.record_writer")
    log = RunLog(tmp_path, tensorboard=True)
    monkeypatch.setattr(records.RecordWriter, "write", full_disk)
    with pytest.raises(OutputError, match=r"tensorboard cannot be written \(no space left"):
        log_losses(log, num_steps)
    assert 1 <= len(read_log(tmp_path)) < 1000


@pytest.mark.usefixtures("quiet_threads")
def test_an_error_on_its_way_is_not_hidden_by_events_that_cannot_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pytest.importorskip("tensorboard.summary.writer.record_writer")
    log = RunLog(tmp_path, tensorboard=True)
    monkeypatch.setattr(records.RecordWriter, "write", full_disk)
    with pytest.raises(ConfigError, match="the loss is nan"):
        log_losses(log, 1, ConfigError("the loss is nan"))


def test_events_that_cannot_be_opened_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(OutputError, match=r"tensorboard cannot be written \(file exists\)"):
        RunLog(tmp_path, tensorboard=True)


def test_tensorboard_reads_losses_rates_and_scores(
    make_pictures_recipe: MakeRecipe, data_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    recipe = make_pictures_recipe(
        pictures={"validate_on": data_folder},
        records={"tensorboard": True, "validate_every": 2, "sheet_pictures": 0},
    )
    folder = tmp_path / "run"
    train(recipe, folder, cache=tmp_path / "cache")
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    entries = read_log(folder)
    assert [one.step for one in events.Scalars("loss")] == [1, 2, 3, 4]
    for name in ("loss", "rate"):
        logged = [entry[name] for entry in entries if name in entry]
        assert [one.value for one in events.Scalars(name)] == pytest.approx(logged)
    assert [one.step for one in events.Scalars("scores/miou")] == [2, 4]  # the last one as well


def test_without_the_package_tensorboard_is_an_error_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'escnet\[tensorboard\]'"):
        RunLog(tmp_path, tensorboard=True)


def test_the_curves_are_a_picture_with_as_many_curves_as_there_is_to_show() -> None:
    steps = [{"step": step, "loss": 1 / step, "rate": 1e-3 / step} for step in range(1, 200)]
    scores = [{"step": 100, "scores": {"miou": 0.3}}, {"step": 199, "scores": {"miou": 0.5}}]
    without, with_scores = (
        np.array(Image.open(BytesIO(encode_curves(entries))).convert("RGB")).astype(int)
        for entries in (steps, steps + scores)
    )
    assert without.shape == with_scores.shape == (600, 800, 3)
    orange = [255, 127, 14]
    assert (np.abs(without - orange).sum(axis=2) < 9).sum() == 0
    assert (np.abs(with_scores - orange).sum(axis=2) < 9).sum() > 100


def test_a_smoothed_value_is_the_mean_with_those_before_it() -> None:
    values = np.array([1.0, 2.0, 6.0, 3.0])
    assert smoothed(values, 2).tolist() == [1.0, 1.5, 4.0, 4.5]
    assert smoothed(values, 0).tolist() == values.tolist()
    assert math.isclose(smoothed(values, 99)[-1], 3.0)


def test_the_log_is_json_a_line(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add(3, phase="pictures", loss=0.25)
    (line,) = (tmp_path / run_log.LOG_FILE).read_text().splitlines()
    assert json.loads(line) == {"step": 3, "phase": "pictures", "loss": 0.25}
