"""A run that is killed and taken up again: `python kill_and_resume.py SETTINGS.json`.

Every part of it is a child, forked from this process, which has imported everything but computed
nothing; so a kill costs no start of an interpreter. Prints how the children ended.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from escnet.training.recipe import recipe_of
from escnet.training.run import train

_MOST_STEPS = 6  # before a kill
_LONGEST_DELAY = 0.04  # seconds after the last of them; about a step with its saved state


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    chance = random.Random(settings["seed"])  # noqa: S311
    ends = [_part(settings, "undisturbed", resume=False, chance=None)]
    ends += [
        _part(settings, "killed", resume=number > 0, chance=chance)
        for number in range(settings["kills"])
    ]
    ends.append(_part(settings, "killed", resume=True, chance=None))
    sys.stdout.write(json.dumps(ends) + "\n")


def _part(
    settings: dict[str, Any], name: str, *, resume: bool, chance: random.Random | None
) -> int:
    """Train in a child, killed if there is chance; its exit code, or minus the signal."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _train(settings, Path(settings[name]), writing, resume=resume)
    os.close(writing)
    if chance is not None:
        for _ in range(chance.randint(0, _MOST_STEPS)):
            os.read(reading, 1)  # a step is done
        time.sleep(chance.uniform(0, _LONGEST_DELAY))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(reading)
    return os.waitstatus_to_exitcode(status)


def _train(settings: dict[str, Any], folder: Path, pipe: int, *, resume: bool) -> None:
    """The child's life."""
    code = 1
    try:
        torch.set_num_threads(1)
        recipe = recipe_of(settings["recipe"])
        train(
            recipe,
            folder,
            cache=Path(settings["cache"]),
            resume=resume,
            on_step=lambda _: _tell(pipe),
        )
        code = 0
    finally:
        os._exit(code)


def _tell(pipe: int) -> None:
    try:
        os.write(pipe, b".")
    except BrokenPipeError:
        os._exit(2)


if __name__ == "__main__":
    main()
