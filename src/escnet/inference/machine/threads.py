"""How many CPU threads PyTorch computes with, and that idle ones do not keep others from working.

PyTorch takes as many threads as the process may run on processors; it does not know of a limit on
processor time, as containers have one. Its OpenMP library lets a thread that waits for work spin,
which is a little faster alone on a machine, and many times slower beside another process.
"""

import os
from contextlib import suppress
from math import ceil
from pathlib import Path

from escnet.errors import ConfigError, setting

_CGROUP_FILE = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_MOST_THREADS = 1024


def let_idle_threads_sleep() -> None:
    """Ask the OpenMP library not to spin; only before PyTorch is imported does it listen."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def check_threads(threads: object) -> None:
    """Refuse what is no number of threads.

    Raises:
        ConfigError: If it is none.
    """
    if threads is not None and (type(threads) is not int or not 1 <= threads <= _MOST_THREADS):
        raise ConfigError(
            f"{setting('threads')} {threads!r} cannot be: give a whole number from 1 to "
            f"{_MOST_THREADS}"
        )


def use_threads(threads: int | None) -> None:
    """Let PyTorch compute with that many threads in this process.

    Args:
        threads: None leaves what PyTorch or OMP_NUM_THREADS chose, but takes no more than the
            process may use.

    Raises:
        ConfigError: If it is no number of threads.
    """
    check_threads(threads)
    import torch  # noqa: PLC0415 -- so that the command line can check what it was given at once

    most = torch.get_num_threads() if threads is None else threads
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        most = min(most, usable_processors())
    if most != torch.get_num_threads():
        torch.set_num_threads(most)


def usable_threads(threads: int | None) -> int:
    """How many threads a runtime that is told their number computes with.

    Args:
        threads: None for OMP_NUM_THREADS, or as many as the process may use.

    Raises:
        ConfigError: If it is no number of threads.
    """
    check_threads(threads)
    if threads is not None:
        return threads
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else usable_processors()


def usable_processors() -> int:
    """Processors that this process may run on, by its affinity and by its group's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = _group_quota()
    return allowed if quota is None else max(1, min(allowed, ceil(quota)))


def _group_quota() -> float | None:
    """Processors' worth of time that the process's cgroups allow; None without a limit."""
    groups = [_CGROUP_ROOT]
    with suppress(OSError):
        for line in _CGROUP_FILE.read_text(encoding="ascii", errors="replace").splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":  # version 2
                own = _CGROUP_ROOT / path.lstrip("/")
                groups += [own, *own.parents]
    groups.append(_CGROUP_ROOT / "cpu")  # version 1
    quotas = [quota for group in dict.fromkeys(groups) if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def _quota_of(group: Path) -> float | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        used = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        return None if used < 0 else used / int(period)
    return None
