"""Text as bytes, and JSON: readable documents, compact ones, and long lists piece by piece."""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from escnet.files import MARK_KEY


def to_utf8(text: str) -> bytes:
    """UTF-8; what is not valid Unicode is escaped, as JSON escapes lone surrogates."""
    return text.encode("utf-8", "backslashreplace")


def to_json(content: Mapping[str, Any]) -> bytes:
    """Readable JSON in UTF-8; what is not valid Unicode is escaped."""
    return to_utf8(json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def to_marked_json(content: Mapping[str, Any]) -> bytes:
    """`to_json` for a file, with the mark by which a later run knows it."""
    return to_json({MARK_KEY: version("escnet"), **content})


def mark_pair() -> bytes:
    """The mark as the first key of a JSON object that is written piece by piece."""
    return to_compact_json(MARK_KEY) + b": " + to_compact_json(version("escnet"))


def to_compact_json(content: object) -> bytes:
    """JSON in UTF-8 without spaces or line breaks; what is not valid Unicode is escaped."""
    return to_utf8(json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def json_list(items: Iterable[object]) -> Iterator[bytes]:
    """A JSON list with an item in each line, as its items come."""
    yield b"["
    separator = b"\n"
    for item in items:
        yield separator + to_compact_json(item)
        separator = b",\n"
    yield b"\n]"
