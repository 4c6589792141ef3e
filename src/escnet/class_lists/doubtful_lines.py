"""Lines of a class list that could be one name, or several, or no name at all."""

import re
from collections.abc import Callable

from escnet.class_lists.class_list import counted, display_text, two_readings
from escnet.class_lists.grammar import has, sentences, split
from escnet.errors import VocabularyError

_SEPARATORS: dict[str, Callable[[str], list[str]]] = {
    "commas": lambda line: list(split(line, ",")),
    "semicolons": lambda line: list(split(line, ";")),
    "full stops": sentences,
}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_OPENING = re.compile(r"(?<!\\)[(\[{]")
_COMMENT = re.compile(r"^(?://|--)|\s(?:#|//)\s")
_MARKS_BESIDE = re.compile(r"(?:->|=>|→)")
_QUOTE_AT_START = re.compile(r"[\"“„«].*[^\"”“»]|'.*[^'\w\s]|`.*|\*\*.*")
_PROGRAM = re.compile(r"(?<!\\)=\s*[\[({\"'`]")
_COLOR_AT_END = re.compile(r"\s\d{1,3}(?:,\s?|\s+)\d{1,3}(?:,\s?|\s+)\d{1,3}|\s#[0-9a-fA-F]{6}")
_FILE = re.compile(
    r".*\w\.(?:jpe?g|png|webp|bmp|gif|tiff?|npy|txt|csv|json|ya?ml|xml|toml|names|pbtxt|pth?)",
    re.IGNORECASE,
)


def refuse_two_readings(number: int, line: str, shown: str) -> None:
    """Refuse a line that could be one name or more than that.

    Raises:
        VocabularyError: With both readings.
    """
    for separator, read in _SEPARATORS.items():
        if len(parts := read(line)) > 1:
            raise two_readings(
                number, line, shown, counted(len(parts)), f"one name with {separator}",
                "write one name a line, or \\ before what belongs to the name "
                "(a .json list takes names as they are)",
            )  # fmt: skip
    refuse_no_name(number, line, shown)


def refuse_no_name(number: int, line: str, shown: str) -> None:
    """Refuse a name that has something beside it, or is a piece of a program.

    Raises:
        VocabularyError: With both readings.
    """
    refuse_file(f"line {number} of {shown}", line)
    if has(line, ":") or "\t" in line or _MARKS_BESIDE.search(line) or _ends_in_color(line):
        raise two_readings(
            number, line, shown, "a name with something beside it", "one name",
            r"write the name alone, or \: for a colon in it",
        )  # fmt: skip
    if _COMMENT.search(line):
        raise two_readings(
            number, line, shown, "a comment or a name with one", "one name",
            r"leave the comment out, or write \# for the sign in a name",
        )  # fmt: skip
    unclosed = any(_CLOSING[m.group()] not in line[m.end() :] for m in _OPENING.finditer(line))
    if unclosed or _QUOTE_AT_START.fullmatch(line) or _PROGRAM.search(line):
        raise two_readings(
            number, line, shown, "a piece of a program's list", "one name",
            "write the names alone, one a line (a .json list takes names as they are)",
        )  # fmt: skip


def refuse_file(where: str, name: str) -> None:
    """Refuse a name that is a file's.

    Raises:
        VocabularyError: If it ends as the names of pictures, lists and weights do.
    """
    if _FILE.fullmatch(name):
        raise VocabularyError(
            f"{where}, {display_text(name)}, is the name of a file, not of a class: give a list of "
            r"class names (\. is a full stop in a name)"
        )


def _ends_in_color(line: str) -> bool:
    return any(match.end() == len(line) for match in _COLOR_AT_END.finditer(line))
