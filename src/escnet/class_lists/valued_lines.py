"""Class names in lines that hold a number or a colour beside each name, as most tools do."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from escnet.class_lists.class_list import (
    ClassList,
    ListedName,
    by_number,
    display_text,
    tools_list,
    two_readings,
)
from escnet.class_lists.decorations import without_quotes
from escnet.class_lists.doubtful_lines import refuse_file
from escnet.class_lists.grammar import has
from escnet.class_lists.tables import Line, is_heading
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
    r"(?P<name>\S.*?[^\d\s,:=>(\[\u2013-])(?:\s+rgba?(?=\())?[\s,:=>(\[\u2013-]+(?P<values>\d{1,3}(?:[\s,:]+\d{1,3}){2,3})[)\]]?"
)
_HEX_FIRST = re.compile(
    r"(?P<color>#[0-9a-fA-F]{3}|#?[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?)[\s,;:=]+(?P<name>[^\s,;:=].*)"
)
_ITK_SNAP = re.compile(
    r"(?P<number>\d{1,9})\s+(?P<color>\d{1,3}\s+\d{1,3}\s+\d{1,3})\s+[\d.]{1,9}\s+[01]\s+[01]\s+"
    r"\"(?P<name>[^\"]+)\""
)
_WORDNET = re.compile(r"(?P<number>n\d{8})[\s,:]+(?P<name>\S.*)")

_Matches = list[tuple[str, dict[str, str]]]  # where each line stands, and its parts


def read_valued_lines(lines: Sequence[Line], shown: str) -> ClassList | None:
    """The class list in lines of which each has a number or a colour; None if they have not.

    Raises:
        VocabularyError: If the numbers could belong to the names.
    """
    (_, first), *others = lines
    for read in (_labelmap, _itk_snap, read_hex_lines, _colored, _numbered, _valued, _wordnet):
        if (class_list := read(lines, shown)) is not None:
            return class_list
        is_headed = others and is_heading(first) and not re.search(r"[,;\t]", first)  # no table
        if is_headed and (class_list := read(others, shown)) is not None:
            left_out = (f"the heading {display_text(first)}", *class_list.left_out)
            return replace(class_list, left_out=left_out)
    return None


def is_value(text: str) -> bool:
    """Whether a text is a number or a colour."""
    return (
        number_of(text) is not None or color_of(text) is not None or not re.search(r"[^\d\s]", text)
    )


def _matches(lines: Sequence[Line], pattern: re.Pattern[str], shown: str) -> _Matches | None:
    """The parts of each line, names without quotes; None if one does not match as a whole."""
    matches = []
    for number, line in lines:
        match = pattern.fullmatch(line) if len(line) <= _MAX_ROW_CHARACTERS else None
        if match is None:
            return None
        matches.append((f"line {number} of {shown}", match.groupdict()))
    names = without_quotes([parts["name"] for _, parts in matches])
    for (where, parts), name in zip(matches, names, strict=True):
        refuse_file(where, name)
        parts["name"] = name
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
    matches = _numbers_first(lines, shown)
    if matches is None or all(is_value(match["name"]) for _, match in matches):
        return None
    rows = [
        ListedName(where, match["name"], [match["name"]], int(match["number"]))
        for where, match in matches
    ]
    rows, about_numbers = by_number(rows, shown)
    return tools_list(shown, "a list of NUMBER: NAME", rows, about_numbers)


def _numbers_first(lines: Sequence[Line], shown: str, *, has_gaps: bool = False) -> _Matches | None:
    """Lines of a number and a name; of those with a blank between, that count from 0 or 1 on.

    Raises:
        VocabularyError: If the numbers could belong to the names.
    """
    if (matches := _matches(lines, _NUMBER_FIRST, shown)) is not None:
        return matches
    matches = _matches(lines, _NUMBER_SPACE, shown)
    if matches is None or any(has(match["name"], "=") for _, match in matches):
        return None
    names = [match["name"] for _, match in matches]
    if all(is_value(name) or _NUMBER_SPACE.fullmatch(name) for name in names):
        return None
    numbers = [int(match["number"]) for _, match in matches]
    rises = numbers[0] in {0, 1} and all(first < second for first, second in pairwise(numbers))
    if not _is_count(numbers) and not (has_gaps and rises):
        raise two_readings(
            *lines[0], shown, "a number and its name", "a name that begins with a number",
            "write NUMBER: NAME, or NAME=NAME for a name like that",
        )  # fmt: skip
    return matches


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
    if (matches := _matches(lines, _COLOR_FIRST, shown)) is not None:
        values = [_integers(match["values"]) for _, match in matches]
        have_number = [len(v) == 5 or (len(v) == 4 and v[0] != 255) for v in values]
        numbers = [v[0] if has else None for v, has in zip(values, have_number, strict=True)]
        colors = [color_of(v[has : has + 3]) for v, has in zip(values, have_number, strict=True)]
    elif (matches := _matches(lines, _COLOR_LAST, shown)) is not None:
        names = [(n, match["name"]) for (n, _), (_, match) in zip(lines, matches, strict=True)]
        if any(has(name, ",") or has(name, ";") for _, name in names):
            return None  # a table
        colors = [color_of(_integers(match["values"])[:3]) for _, match in matches]
        matches = _numbers_first(names, shown, has_gaps=True) or matches
        numbers = [int(m["number"]) if "number" in m else None for _, m in matches]
    else:
        return None
    if not all(colors):
        return None
    rows = [
        ListedName(where, match["name"].strip(), [match["name"].strip()], number, color)
        for (where, match), number, color in zip(matches, numbers, colors, strict=True)
    ]
    rows, about_numbers = by_number(rows, shown)
    return tools_list(shown, "a list of colours and names", rows, [*about_numbers, "colours"])


def _integers(text: str) -> list[int]:
    return [int(value) for value in re.findall(r"\d+", text)]


def _itk_snap(lines: Sequence[Line], shown: str) -> ClassList | None:
    """ITK-SNAP's label descriptions: number, red, green, blue, opacity, two switches, "name"."""
    matches = _matches(lines, _ITK_SNAP, shown)
    if matches is None:
        return None
    rows = [
        ListedName(where, match["name"], [match["name"]], int(match["number"]), color)
        for where, match in matches
        for color in [color_of(_integers(match["color"]))]
    ]
    rows, about_numbers = by_number(rows, shown)
    return tools_list(shown, "ITK-SNAP's label descriptions", rows, [*about_numbers, "colours"])


def _wordnet(lines: Sequence[Line], shown: str) -> ClassList | None:
    matches = _matches(lines, _WORDNET, shown)
    if matches is None:
        return None
    rows = [ListedName(where, match["name"], [match["name"]]) for where, match in matches]
    return tools_list(shown, "ImageNet's list of WordNet numbers", rows, ["WordNet numbers"])
