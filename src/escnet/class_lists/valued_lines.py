"""Class names in lines that hold a number or a colour beside each name, as most tools do."""

import re
from collections.abc import Sequence

from escnet.class_lists.class_list import (
    ClassList,
    ListedName,
    by_number,
    tools_list,
    two_readings,
)
from escnet.class_lists.grammar import has
from escnet.class_lists.tables import Line
from escnet.class_lists.values import color_of, number_of

_MAX_ROW_CHARACTERS = 4_000  # of a line with one name; so no pattern below runs for long

_ARROW = r"(?:->|=>|→)"
_LABELMAP = re.compile(r"(?P<name>.*[^:]):(?P<color>[\d, ]*):(?P<parts>[^:]*):(?P<actions>[^:]*)")
_NUMBER_FIRST = re.compile(
    rf"[(\[]?(?P<number>-?\d{{1,9}})"
    rf"(?:\s*(?:[:\uff1a)\]]|{_ARROW})\s*|\.(?:\s+|(?=[^\d\s]))|\t\s*|\s*-\s+)(?P<name>\S.*)"
)
_NUMBER_SPACE = re.compile(r"(?P<number>\d{1,9})\s+(?P<name>\S.*)")
_VALUE_LAST = re.compile(
    rf"(?P<name>\S.*?)(?:\s*(?:[:\uff1a=]|{_ARROW})\s*|\t\s*|\s+(?=#))"
    r"(?P<value>#[0-9a-fA-F]{3,8}|-?\d{1,9}|[(\[]?\d{1,3}(?:(?:,\s?|\s)\d{1,3}){2,3}[)\]]?|)"
)
_COUNT_LAST = re.compile(r"(?P<name>\S.*?)\s+(?P<value>\d{1,9})")
_COLOR_FIRST = re.compile(r"(?P<values>(?:\d{1,5}[\s,:]+){3,5})(?P<name>[^\d\s].*)")
_COLOR_LAST = re.compile(
    r"(?P<name>\S.*?[^\d\s,:=>(\[\u2013-])[\s,:=>(\[\u2013-]+(?P<values>\d{1,3}(?:[\s,:]+\d{1,3}){2,3})[)\]]?"
)
_HEX_FIRST = re.compile(
    r"(?P<color>#[0-9a-fA-F]{3}|#?[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?)[\s,;:=]+(?P<name>[^\s,;:=].*)"
)
_WORDNET = re.compile(r"(?P<number>n\d{8})[\s,:]+(?P<name>\S.*)")

_Matches = list[tuple[str, re.Match[str]]]


def read_valued_lines(lines: Sequence[Line], shown: str) -> ClassList | None:
    """The class list in lines of which each has a number or a colour; None if they have not.

    Raises:
        VocabularyError: If the numbers could belong to the names.
    """
    for read in (_labelmap, read_hex_lines, _colored, _numbered, _valued, _wordnet):
        if (class_list := read(lines, shown)) is not None:
            return class_list
    return None


def is_value(text: str) -> bool:
    """Whether a text is a number or a colour."""
    return number_of(text) is not None or color_of(text) is not None


def _matches(lines: Sequence[Line], pattern: re.Pattern[str], shown: str) -> _Matches | None:
    """Where each line stands with its match; None if one does not match as a whole."""
    matches = []
    for number, line in lines:
        match = pattern.fullmatch(line) if len(line) <= _MAX_ROW_CHARACTERS else None
        if match is None:
            return None
        matches.append((f"line {number} of {shown}", match))
    return matches


def _labelmap(lines: Sequence[Line], shown: str) -> ClassList | None:
    matches = _matches(lines, _LABELMAP, shown)
    if matches is None:
        return None
    rows = [
        ListedName(where, match["name"], [match["name"]], None, color_of(match["color"]))
        for where, match in matches
    ]
    left_out = ["colours"] if any(row.color for row in rows) else []
    left_out += ["parts and actions"] if any(m["parts"] or m["actions"] for _, m in matches) else []
    return tools_list(shown, "CVAT's labelmap.txt", rows, left_out)


def _numbered(lines: Sequence[Line], shown: str) -> ClassList | None:
    matches = _matches(lines, _NUMBER_FIRST, shown)
    if matches is None:
        matches = _matches(lines, _NUMBER_SPACE, shown)
        if matches is None or any(has(match["name"], "=") for _, match in matches):
            return None
        if all(is_value(match["name"]) for _, match in matches):
            return None
        if not _is_count([int(match["number"]) for _, match in matches]):
            raise two_readings(
                *lines[0], shown, "a number and its name", "a name that begins with a number",
                "write NUMBER: NAME, or NAME=NAME for a name like that",
            )  # fmt: skip
    if all(is_value(match["name"]) for _, match in matches):
        return None
    rows = [
        ListedName(where, match["name"], [match["name"]], int(match["number"]))
        for where, match in matches
    ]
    rows, about_numbers = by_number(rows, shown)
    return tools_list(shown, "a list of NUMBER: NAME", rows, about_numbers)


def _is_count(numbers: Sequence[int]) -> bool:
    """Whether they count several lines, from 0 or 1 on."""
    return len(numbers) > 1 and numbers in (
        list(range(len(numbers))),
        list(range(1, len(numbers) + 1)),
    )


def _valued(lines: Sequence[Line], shown: str) -> ClassList | None:
    matches = _matches(lines, _VALUE_LAST, shown) or _counted(lines, shown)
    if matches is None or all(is_value(match["name"]) for _, match in matches):
        return None
    values = [match["value"] for _, match in matches]
    numbers, colors = [number_of(one) for one in values], [color_of(one) for one in values]
    written = sum(map(bool, values))
    if written == 0 or written not in {sum(n is not None for n in numbers), sum(map(bool, colors))}:
        return None  # numbers for some names and colours for others are neither
    rows = [
        ListedName(where, match["name"], [match["name"]], number, color)
        for (where, match), number, color in zip(matches, numbers, colors, strict=True)
    ]
    rows, about_numbers = by_number(rows, shown)
    left_out = [*about_numbers, *(["colours"] if any(colors) else [])]
    return tools_list(shown, "a list of NAME: VALUE", rows, left_out)


def _counted(lines: Sequence[Line], shown: str) -> _Matches | None:
    """Lines such as "cup 0" and "table 1"; not "lane 1" and "lane 2", whose names would be one."""
    matches = _matches(lines, _COUNT_LAST, shown)
    if matches is None or not _is_count([int(match["value"]) for _, match in matches]):
        return None
    return matches if len({match["name"] for _, match in matches}) == len(matches) else None


def read_hex_lines(lines: Sequence[Line], shown: str) -> ClassList | None:
    """Lines such as "#ff0000 cup"; "facade red" is none, though its letters are digits as well."""
    matches = _matches(lines, _HEX_FIRST, shown)
    if matches is None or not any(re.search(r"[#\d]", match["color"]) for _, match in matches):
        return None
    rows = [
        ListedName(where, match["name"], [match["name"]], None, color_of(f"#{color}"))
        for where, match in matches
        for color in [match["color"].lstrip("#")]
    ]
    return tools_list(shown, "a list of colours and names", rows, ["colours"])


def _colored(lines: Sequence[Line], shown: str) -> ClassList | None:
    """Lines with red, green and blue, and perhaps a number before them and opacity after."""
    matches = _matches(lines, _COLOR_FIRST, shown)
    is_first = matches is not None
    matches = matches or _matches(lines, _COLOR_LAST, shown)
    if matches is None:
        return None
    rows = []
    for where, match in matches:
        values = [int(value) for value in re.findall(r"\d+", match["values"])]
        has_number = is_first and (len(values) == 5 or (len(values) == 4 and values[0] != 255))
        color = color_of(values[has_number : has_number + 3])
        number = values[0] if has_number else None
        rows.append(
            ListedName(where, match["name"].strip(), [match["name"].strip()], number, color)
        )
    if any(row.color is None for row in rows):
        return None
    rows, about_numbers = by_number(rows, shown)
    return tools_list(shown, "a list of colours and names", rows, [*about_numbers, "colours"])


def _wordnet(lines: Sequence[Line], shown: str) -> ClassList | None:
    matches = _matches(lines, _WORDNET, shown)
    if matches is None:
        return None
    rows = [ListedName(where, match["name"], [match["name"]]) for where, match in matches]
    return tools_list(shown, "ImageNet's list of WordNet numbers", rows, ["WordNet numbers"])
