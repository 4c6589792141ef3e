"""`escnet train` on the smoke recipe, as a user runs it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run

ROOT = Path(__file__).parents[2]
RECIPE = "recipes/tiny-smoke.toml"
ENDLESS = ["--set", "training.steps=100000", "--set", "records.validate_every=0"]


def test_a_run_tells_how_far_it_is_and_where_the_checkpoint_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    short = ["--set", "training.steps=4", "--set", "records.validate_every=2"]
    assert run(["train", RECIPE, "--out", str(tmp_path / "run"), *short]) == 0
    captured = capsys.readouterr()
    said = captured.out
    assert captured.err.count("recipes/shapes is read as images/ with masks/") == 1
    assert re.search(
        r"pictures 4/4: loss \d+\.\d{3}, rate \d\.\de-\d+, mIoU \d+\.\d, 0:00:00 left, "
        r"\d+% waiting for data",
        said,
    ), said
    assert f"checkpoint: {tmp_path / 'run' / 'model'}" in said


def test_a_doubt_about_the_label_maps_is_told_and_what_they_mean_can_be_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    own = tmp_path / "own"
    for part in ("images", "masks"):
        (own / part).mkdir(parents=True)
    (own / "classes.txt").write_text("ground\nthing\n")
    label_map = np.zeros((48, 64), np.uint8)
    label_map[10:30, 20:40] = 255  # as many tools draw a thing
    Image.fromarray(label_map).save(own / "masks" / "a.png")
    Image.fromarray(label_map).save(own / "images" / "a.png")
    short = ["--set", "training.steps=1", "--set", "records.sheet_pictures=0"]
    sources = f"pictures.sources=[{{data='folder', root='{own}'%s}}]"
    for declared in ("", f", id_map='{tmp_path / 'ids.txt'}'"):
        (tmp_path / "ids.txt").write_text("0: ground\n255: thing\n")
        out = ["--out", str(tmp_path / f"run{len(declared)}")]
        assert run(["train", RECIPE, *out, *short, "--set", sources % declared]) == 0
        said = capsys.readouterr().err
        assert f"{own} is read as " in said
        assert (f"warning: {own}: " in said) == (not declared)


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, 0),
        # Ctrl-C, systemd and Slurm signal all processes, those that read pictures among them.
        (signal.SIGTERM, 1),
    ],
)
def test_a_signal_saves_the_state_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    command = [sys.executable, "-m", "escnet", "train", RECIPE, "--out", str(tmp_path / "run")]
    child = subprocess.Popen(
        [*command, *ENDLESS, "--set", f"pictures.workers={workers}"],
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        states = tmp_path / "run" / "states"
        deadline = time.monotonic() + 60
        while not list(states.glob("step-*.pt")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(child.pid, number)
        _, complaint = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 128 + number
    line, *more = [text for text in complaint.splitlines() if text.startswith("escnet:")]
    assert more == (["escnet: interrupted"] if number == signal.SIGINT else [])
    found = re.search(r"stopped after step (\d+) of 100000.*go on with --resume", line)
    assert found, line
    assert "Traceback" not in complaint
    assert (states / f"step-{int(found[1]):08}.pt").is_file()
    with pytest.raises(ProcessLookupError):  # none of them is left
        os.killpg(child.pid, 0)
