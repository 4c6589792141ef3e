import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from escnet.errors import ConfigError
from escnet.inference.machine import threads
from escnet.inference.machine.threads import check_threads, usable_processors, use_threads


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2", 100_000])
def test_what_is_no_number_of_threads_is_refused(number: object) -> None:
    with pytest.raises(ConfigError, match=r"threads .* cannot be: give a whole number from 1"):
        check_threads(number)


def test_threads_that_are_asked_for_are_used() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),  # of one and a half processors the second is of use
        ({"cpu.max": "10000 100000"}, 1),
        ({"box/cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "300000 100000", "box/cpu.max": "200000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu.max": "nonsense"}, 4),
    ],
)
def test_a_group_s_quota_and_the_affinity_limit_the_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str], expected: int
) -> None:
    for name, content in limits.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "self").write_text("0::/box\n")
    monkeypatch.setattr(threads, "_CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(threads, "_CGROUP_FILE", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert usable_processors() == expected


def test_the_command_line_lets_idle_threads_sleep_unless_told_otherwise() -> None:
    code = (
        "import os, sys; sys.argv = ['escnet', '--version']; from escnet.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    for asked, expected in (({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")):
        told = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | asked
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=told,
        )
        assert done.stdout.splitlines()[-1] == expected


def test_a_segmenter_in_python_lets_idle_threads_sleep_too() -> None:
    code = "import os; from escnet import Segmenter; print(os.environ['OMP_WAIT_POLICY'])"
    told = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=told
    )
    assert done.stdout == "passive\n"
