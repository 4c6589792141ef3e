"""Two processes of one run: `python processes.py FOLDER SCRIPT ARGUMENT...`.

torchrun starts an interpreter for each, and one more; here they are forked from this process, which
has imported everything but computed nothing. SCRIPT is a path, or the module `escnet`. What each
says goes to FOLDER/0.txt and FOLDER/1.txt; the exit code is the sum of theirs.
"""

import os
import runpy
import socket
import sys
from pathlib import Path

import escnet.inference.methods.network_load
import escnet.training.run  # noqa: F401 -- both for the children

NUMBER = 2


def main() -> None:
    folder, script = Path(sys.argv[1]), sys.argv[2]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(NUMBER):
        if (child := os.fork()) == 0:
            _run(rank, script, folder / f"{rank}.txt")
        children.append(child)
    sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


def _run(rank: int, script: str, output: Path) -> None:
    """A child's life, with the environment that torchrun gives."""
    for name in ("", "LOCAL_"):
        os.environ |= {f"{name}RANK": str(rank), f"{name}WORLD_SIZE": str(NUMBER)}
    written = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.argv = sys.argv[2:]
    code = 1
    try:
        run = runpy.run_path if script.endswith(".py") else runpy.run_module
        run(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
