"""The most memory that a process has used, told so that nothing of another process is in it.

`ru_maxrss` is not enough on Linux: a process begins with the peak of the one that started it,
because the kernel carries that number over into the new program.
"""

import platform
import re
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc(5)


def peak_memory() -> int | None:
    """Bytes of main memory that this process held at most, since it began or `forget_peak`.

    None where the system does not tell.
    """
    with suppress(OSError):
        match = _PEAK.search(_STATUS.read_text(encoding="ascii", errors="replace"))
        return int(match[1]) * 1024 if match else None
    if platform.system() != "Darwin":
        return None
    import resource  # noqa: PLC0415 -- not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> bool:
    """Let `peak_memory` begin anew with what is held now; False where the system cannot."""
    try:
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True
