"""Lines of a class list that could be one name, or several, or no name at all."""

import re
from collections.abc import Callable

from escnet.class_lists.class_list import counted, two_readings
from escnet.class_lists.grammar import has, sentences, split

_SEPARATORS: dict[str, Callable[[str], list[str]]] = {
    "commas": lambda line: list(split(line, ",")),
    "semicolons": lambda line: list(split(line, ";")),
    "full stops": sentences,
}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_OPENING = re.compile(r"(?<!\\)[(\[{]")
_COMMENT = re.compile(r"^(?://|--)|\s(?:#|//)\s")
_MARKS_BESIDE = re.compile(r"(?:->|=>|→)")
_QUOTE_AT_START = re.compile(r"[\"“„«].*[^\"”“»]|'.*[^'\w\s]")


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
    if has(line, ":") or "\t" in line or _MARKS_BESIDE.search(line):
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
    if unclosed or _QUOTE_AT_START.fullmatch(line):
        raise two_readings(
            number, line, shown, "a piece of a program's list", "one name",
            "write the names alone, one a line (a .json list takes names as they are)",
        )  # fmt: skip
