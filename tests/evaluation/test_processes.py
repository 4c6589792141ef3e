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

folder = Path(sys.argv[1])
try:
    with joined_processes() as processes:
        (folder / f"{processes.rank} of {processes.count}").touch()
        processes.wait()
        print(len(list(folder.iterdir())), processes.is_first)
        if processes.rank == 1:
            raise EscnetError("label map a.png is bad")
        processes.wait()
except EscnetError as error:
    print(error)
"""


def run_two(folder: Path) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(folder)],
            env={**os.environ, **together, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return printed


def test_processes_wait_for_each_other_and_end_with_one_line_when_one_fails(
    tmp_path: Path,
) -> None:
    first, second = run_two(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0 of 2", "1 of 2"]
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
