"""Small files that other people and programs wrote, read within bounds.

Recipes, class lists, settings of models, results and reports come from anywhere. Each is read here,
and whatever it is, reading it ends soon and within a known amount of memory: it must be a regular
file (a pipe would be waited for, and /dev/zero never ends) of a limited size, it must be UTF-8, and
what it holds must not be nested without end. No number may be NaN or infinite.
"""

import json
import math
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from escnet.errors import EscnetError, first_line
from escnet.files import display_path

MAX_BYTES = 64 * 2**20
MAX_DEPTH = (
    64  # levels of lists and objects; ours have five, configurations of models about as many
)

_MAX_LINE_BYTES = 16 * 2**20  # of a file of JSON lines, which as a whole may be of any length
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"')
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_MOST_DOTS = 256  # in a line of TOML; a key of many parts takes time that grows with their square


@contextmanager
def regular_file(
    path: str | Path, shown: str, error: type[EscnetError], *, if_missing: str = "check the path"
) -> Iterator[BufferedReader]:
    """The file open for reading, if it is a regular one.

    Args:
        path: The file.
        shown: What errors call it.
        error: The kind of error to raise.
        if_missing: What to do where there is no such file; the end of the line.

    Raises:
        EscnetError: Of that kind, if there is no such file, or it cannot be opened without waiting.
    """
    try:
        path = Path(path)
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise error(f"{shown} is a folder: name the file in it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise error(f"{shown} is not a regular file: save its content to one")
        stream = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{shown} does not exist: {if_missing}") from None
    except (OSError, ValueError) as reason:  # ValueError: a null character in the path
        raise error(
            f"{shown} cannot be read ({_reason(reason)}): check the path and its permissions"
        ) from None
    with stream:
        yield stream


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallFile:
    """What a file is meant to be, and the way to read it.

    Every method raises `error`, in one line with the file's path.

    Attributes:
        noun: What errors call such a file, such as "recipe".
        error: The kind of error to raise.
        cure: What to do about a file that is not what it should be; the end of the line.
        if_missing: What to do where there is none.
        most_bytes: The largest file that is read.
    """

    noun: str
    error: type[EscnetError]
    cure: str
    if_missing: str = "check the path"
    most_bytes: int = MAX_BYTES

    def bytes_of(self, path: str | Path) -> bytes:
        """The content of a file."""
        shown = self._title(path)
        with self._opened(path, shown) as stream:
            content = _read(stream, self.most_bytes, shown, self.error)
        if len(content) > self.most_bytes:
            self._refuse(shown, f"is larger than {_size(self.most_bytes)}")
        return content

    def text_of(self, path: str | Path) -> str:
        """The text in a file: UTF-8, with or without a byte order mark."""
        return self._decoded(self.bytes_of(path), self._title(path))

    def json_of(self, path: str | Path) -> Any:
        """The value in a JSON file."""
        return self.parsed_json(self.bytes_of(path), self._title(path))

    def object_of(self, path: str | Path) -> dict[str, Any]:
        """The object in a JSON file."""
        value = self.json_of(path)
        if not isinstance(value, dict):
            self._refuse(self._title(path), f"holds a JSON {type(value).__name__}, not an object")
        return value

    def toml_of(self, path: str | Path) -> dict[str, Any]:
        """The table in a TOML file."""
        shown = self._title(path)
        return self.parsed_toml(self.text_of(path), shown)

    def lines_of(self, path: str | Path) -> Iterator[tuple[int, bytes]]:
        """The lines of a file with their numbers, without a torn last one; each of limited size."""
        shown = self._title(path)
        with self._opened(path, shown) as stream:
            number = 0
            while line := _read(stream, _MAX_LINE_BYTES, shown, self.error, is_line=True):
                number += 1
                if len(line) > _MAX_LINE_BYTES:
                    too_long = f"has more than {_size(_MAX_LINE_BYTES)} in line {number}"
                    self._refuse(shown, too_long)
                if not line.endswith(b"\n"):
                    return
                yield number, line

    def parsed_json(self, content: bytes, shown: str) -> Any:
        """The value that JSON text holds.

        Args:
            content: The text.
            shown: What errors call it.
        """
        if _depth_of_json(content) > MAX_DEPTH:
            self._refuse(shown, f"is nested more than {MAX_DEPTH} levels deep")
        try:
            return json.loads(
                self._decoded(content, shown), parse_constant=_no_number, parse_float=_finite
            )
        except json.JSONDecodeError as reason:
            self._refuse(shown, f"is not JSON ({reason.msg} at line {reason.lineno})")
        except ValueError as reason:
            self._refuse(shown, f"is not JSON ({_number_fault(reason)})")

    def parsed_toml(self, text: str, shown: str) -> dict[str, Any]:
        """The table that TOML text holds.

        Args:
            text: The text.
            shown: What errors call it.
        """
        if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            self._refuse(shown, f"has more than {_MOST_DOTS} dots in a line")
        try:
            table = tomllib.loads(text, parse_float=_finite)
            if _is_deep(table):
                self._refuse(shown, f"is nested more than {MAX_DEPTH} levels deep")
        except RecursionError:
            self._refuse(shown, f"is nested more than {MAX_DEPTH} levels deep")
        except ValueError as reason:
            self._refuse(shown, f"is not TOML ({_number_fault(reason)})")
        return table

    def _opened(self, path: str | Path, shown: str) -> AbstractContextManager[BufferedReader]:
        return regular_file(path, shown, self.error, if_missing=self.if_missing)

    def _decoded(self, content: bytes, shown: str) -> str:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as reason:
            byte = f"byte 0x{content[reason.start]:02x} at {reason.start}"
            raise self.error(f"{shown} is not UTF-8 text ({byte}): save it as UTF-8") from None

    def _title(self, path: str | Path) -> str:
        return f"{self.noun} {display_path(path)}".lstrip()

    def _refuse(self, shown: str, what: str) -> NoReturn:
        raise self.error(f"{shown} {what}: {self.cure}") from None


def _read(
    stream: BufferedReader,
    most: int,
    shown: str,
    error: type[EscnetError],
    *,
    is_line: bool = False,
) -> bytes:
    """So many bytes, and one more where there are more."""
    try:
        return stream.readline(most + 1) if is_line else stream.read(most + 1)
    except OSError as reason:  # of a bad disk, or a share that has gone
        raise error(f"{shown} cannot be read ({_reason(reason)}): copy it again") from None


def _depth_of_json(content: bytes) -> int:
    """How deep brackets are nested, found without parsing."""
    if b"\\" in content:
        content = _ESCAPED.sub(b"", content)
    brackets = _STRING.sub(b"", content.translate(None, _NO_STRUCTURE)).replace(b'"', b"")
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _is_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(text)
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text:.30} is no finite number")


def _number_fault(error: ValueError) -> str:
    told = first_line(error)  # Python's own of a number of 5,000 digits speaks of its settings
    return "a number has too many digits" if told.startswith("Exceeds the limit") else told


def _reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _size(num_bytes: int) -> str:
    return f"{num_bytes // 2**20} MiB" if num_bytes >= 2**20 else f"{num_bytes // 2**10} KiB"
