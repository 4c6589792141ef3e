import os
import socket
import subprocess
import sys
from pathlib import Path

from escnet.evaluation.processes import Processes, joined_processes

TOGETHER = """
import sys
from pathlib import Path
from escnet.errors import EscnetError
from escnet.evaluation.processes import joined_processes

folder, last_fails = Path(sys.argv[1]), sys.argv[2] == "fails"
try:
    with joined_processes() as processes:
        (folder / f"{processes.rank} of {processes.count}").touch()
        processes.wait()
        print(len(list(folder.iterdir())), processes.is_first)
        if last_fails and processes.rank == 1:
            raise EscnetError("label map a.png is bad")
        processes.wait()
except EscnetError as error:
    print(error)
"""


def run_two(folder: Path, what: str) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(folder), what],
            env={**os.environ, **together, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return printed


def test_processes_wait_for_each_other(tmp_path: Path) -> None:
    assert run_two(tmp_path, "succeeds") == ["2 True\n", "2 False\n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0 of 2", "1 of 2"]


def test_when_one_fails_the_others_end_with_one_line(tmp_path: Path) -> None:
    first, second = run_two(tmp_path, "fails")
    assert second == "2 False\nlabel map a.png is bad\n"
    assert first.splitlines() == [
        "2 True",
        "process 0 of 2 stops because another one has ended: see its message, "
        "and add --resume to go on",
    ]


def test_a_process_alone_does_not_wait() -> None:
    with joined_processes() as processes:
        processes.wait()
    assert processes == Processes(rank=0, count=1)
    assert processes.is_first
