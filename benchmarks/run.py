"""Measure the scenarios: `python benchmarks/run.py [NAME-PART ...] [--out FILE] [--rounds N]`.

One JSON line for each scenario whose name contains one of the given parts (all, if none is given).
Every scenario runs in a process of its own, since a process's peak memory never falls.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from scenarios import SCENARIOS, SEED

from escnet.inference.machine.process_memory import peak_memory

_PACKAGES = ("torch", "transformers", "numpy")
_ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure in child processes, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="parts of names of scenarios")
    parser.add_argument("--out", type=Path, help="file to append the lines to")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each scenario")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the computation")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.rounds, arguments.threads)))
        return

    wanted = [
        name
        for name in SCENARIOS
        if not arguments.parts or any(part in name for part in arguments.parts)
    ]
    if not wanted:
        sys.exit(f"no scenario has {arguments.parts} in its name: choose from {list(SCENARIOS)}")
    for name in wanted:
        options = [f"--rounds={arguments.rounds}", f"--threads={arguments.threads}"]
        child = [sys.executable, __file__, f"--child={name}", *options]
        line = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(line, flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def measure(name: str, num_rounds: int, num_threads: int) -> dict[str, object]:
    """Times and memory of one scenario, and everything needed to read them."""
    torch.set_num_threads(num_threads)
    torch.manual_seed(SEED)
    seconds = []
    with torch.inference_mode():
        work = SCENARIOS[name]()
        before = peak_memory()
        work()  # not counted: the first run allocates and warms up
        for _ in range(num_rounds):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return {
        "scenario": name,
        "seconds": {
            "min": round(min(seconds), 4),
            "median": round(statistics.median(seconds), 4),
            "max": round(max(seconds), 4),
        },
        "peak_megabytes": _megabytes(peak_memory()),
        "peak_megabytes_before": _megabytes(before),
        "rounds": num_rounds,
        "threads": num_threads,
        "seed": SEED,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
    }


def _megabytes(number: int | None) -> int | None:
    return None if number is None else round(number / 1e6)


def _commit() -> str:
    git = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(git, check=False, capture_output=True, text=True).stdout.strip() or "none"


def _processor() -> str:
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
