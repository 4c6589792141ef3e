"""The code of the pages: what stands in their blocks, and how a reader would run it.

A page's blocks of bash and python run in order, in one folder that begins with the example
pictures. A block after `<!-- not run: REASON -->` needs what a test does not have.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from textwrap import dedent

from escnet.cli.main import run

ROOT = Path(__file__).parents[2]
SECTIONS = ("start", "tutorials", "how-to")

_BLOCK = re.compile(  # in a list it is indented
    r"^(?: *<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r" *```(?P<language>bash|python)\n(?P<code>.*?)^ *```$",
    flags=re.MULTILINE | re.DOTALL,
)
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page.

    Attributes:
        language: "bash" or "python".
        code: What stands in it.
        line: Its first line on the page, counted from 1.
        runs: Whether a test can run it.
    """

    language: str
    code: str
    line: int
    runs: bool


def pages() -> list[Path]:
    """The pages that promise to be run, those of a section together."""
    found = [path for name in SECTIONS for path in sorted((ROOT / "docs" / name).glob("*.md"))]
    assert found
    return found


def blocks(text: str) -> list[Block]:
    """The blocks of a page's text, in order."""
    return [
        Block(
            language=match["language"],
            code=dedent(match["code"]),
            line=text.count("\n", 0, match.start("code")) + 1,
            runs=match["reason"] is None,
        )
        for match in _BLOCK.finditer(text)
    ]


def commands(code: str) -> Iterator[str]:
    """The commands of a block of bash, each with its continuation lines and its here-document."""
    lines = iter(code.splitlines())
    for line in lines:
        command = line
        while command.endswith("\\"):
            command = command[:-1] + next(lines)
        if ends := _HERE_DOCUMENT.search(command):
            for further in lines:
                command += "\n" + further
                if further == ends[1]:
                    break
        if command.strip() and not command.lstrip().startswith("#"):
            yield command


def run_block(block: Block, names: dict[str, object], where: str) -> None:
    """Run a block in the current folder.

    Args:
        block: What to run.
        names: The variables of the page's Python, which go from block to block.
        where: The page, for messages.
    """
    if block.language == "python":
        lines = "\n" * block.line + block.code  # so that an error names the page's line
        exec(compile(lines, where, "exec"), names)  # noqa: S102
        return
    for command in commands(block.code):
        words = arguments(command)
        if words:
            assert run(words) == 0, f"{where}: {command}"
        else:
            subprocess.run(["/bin/bash", "-euc", command], check=True)


def arguments(command: str) -> list[str]:
    """What `escnet` is given in a command, patterns filled in as a shell does; [] for another."""
    words = shlex.split(command, comments=True) if "<<" not in command else []
    if words[:1] == ["torchrun"] or words[:1] == ["accelerate"]:
        words = words[words.index("escnet") :]
    if words[:1] != ["escnet"]:
        return []
    return list(chain.from_iterable(_filled_in(word) for word in words[1:]))


def _filled_in(word: str) -> list[str]:
    """The files that a pattern names, or the word itself."""
    return [str(path) for path in sorted(Path().glob(word))] if "*" in word else [word]
