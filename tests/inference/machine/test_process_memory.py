import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from escnet.inference.machine.process_memory import forget_peak, peak_memory

MEGABYTE = 1_000_000

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells and forgets peaks"
)


def peak_of(code: str) -> int:
    """What a new process says its peak is after some code."""
    code = f"from escnet.inference.machine.process_memory import *\n{code}\nprint(peak_memory())"
    command = [sys.executable, "-c", code]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_a_process_does_not_inherit_the_peak_of_the_one_that_started_it() -> None:
    ballast = np.ones(600 * MEGABYTE, np.uint8)
    assert (peak_memory() or 0) > 600 * MEGABYTE
    assert peak_of("") < 200 * MEGABYTE
    del ballast


def test_what_was_held_and_let_go_counts_until_it_is_forgotten() -> None:
    held = "a = bytearray(b'x') * 300_000_000\ndel a"
    assert 300 * MEGABYTE < peak_of(held) < 500 * MEGABYTE
    assert peak_of(f"{held}\nassert forget_peak()") < 200 * MEGABYTE


def test_the_peak_never_falls_by_itself() -> None:
    assert forget_peak()
    before = peak_memory()
    assert before is not None
    assert (peak_memory() or 0) >= before > MEGABYTE
