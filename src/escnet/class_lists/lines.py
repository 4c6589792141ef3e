"""Class names in lines of text: one a line, all in one line, or beside numbers and colours.

A line that could be one name or several, or a name with something beside it, is an error that names
both readings.
"""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from itertools import islice

from escnet.class_lists.class_list import (
    ClassList,
    ListedName,
    by_number,
    counted,
    display_text,
    is_rest_word,
    tools_list,
)
from escnet.class_lists.grammar import has, parsed, split
from escnet.class_lists.tables import Line, is_name_header, read_table
from escnet.class_lists.values import color_of, number_of
from escnet.errors import VocabularyError

# Byte order marks, spaces without width, soft hyphens, and directions of writing: they come along
# when text is copied, and would make a second class that looks like the first.
REMOVED = dict.fromkeys(
    [0xFEFF, 0x200B, 0x2060, 0xAD, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)

_MAX_ROWS = 2**16  # more than a vocabulary has, which refuses what is beyond its own limit
_MAX_ROW_CHARACTERS = 4_000  # of a line with one name; so no pattern below runs for long

_LABELMAP = re.compile(r"(?P<name>.*[^:]):(?P<color>[\d, ]*):(?P<parts>[^:]*):(?P<actions>[^:]*)")
_NUMBER_FIRST = re.compile(r"(?P<number>\d{1,9})(?:\s*[:)]\s*|\.\s+|\t\s*|\s*-\s+)(?P<name>\S.*)")
_NUMBER_SPACE = re.compile(r"(?P<number>\d{1,9})\s+(?P<name>\S.*)")
_VALUE_LAST = re.compile(
    r"(?P<name>\S.*?)(?:\s*[:=]\s*|\t\s*|\s+(?=#))"
    r"(?P<value>#[0-9a-fA-F]{3,8}|\d{1,9}|[(\[]?\d{1,3}(?:(?:,\s?|\s)\d{1,3}){2,3}[)\]]?|)"
)
_COLOR_FIRST = re.compile(r"(?P<values>(?:\d{1,5}[\s,:]+){3,5})(?P<name>[^\d\s].*)")
_COLOR_LAST = re.compile(r"(?P<name>\S.*?[^\d\s,:])(?P<values>(?:[\s,:]+\d{1,3}){3,4})")
_WORDNET = re.compile(r"(?P<number>n\d{8})[\s,:]+(?P<name>\S.*)")
_BULLET = re.compile(r"[-*•]\s+")
_QUOTES = "\"'"
_IGNORED_BY_LABELME = "__ignore__"
_MARKED = re.compile(r"_+\w+?_+")  # labelme's __ignore__ and _background_
_SENTENCES = re.compile(r"(?<!\\)\.(?:\s+|$)")
_MAYBE_HEADER = frozenset({"label", "labels"})  # which are things as well


def lines_of(text: str) -> list[Line]:
    """The lines that are not blank and no comments, with their numbers; no more than are used."""
    lines = ((i, line.translate(REMOVED).strip()) for i, line in enumerate(StringIO(text, None), 1))
    return list(islice(((i, t) for i, t in lines if t and not t.startswith("#")), _MAX_ROWS))


def read_lines(text: str, shown: str) -> ClassList:
    """The class list in lines of text.

    Raises:
        VocabularyError: If there is none, or a line has two readings.
    """
    lines = lines_of(text)
    if not lines:
        raise VocabularyError(f"{shown} holds no class names: write one a line")
    for read in (_labelmap, _colored, _numbered, _valued, _wordnet):
        if (class_list := read(lines, shown)) is not None:
            return class_list
    if len(lines) == 1:
        return _one_line(lines[0], shown)
    return read_table(lines, shown) or _plain(lines, shown)


def _matches(
    lines: Sequence[Line], pattern: re.Pattern[str], shown: str
) -> list[tuple[str, re.Match[str]]] | None:
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
        if all(_is_value(match["name"]) for _, match in matches):
            return None
        numbers = [int(match["number"]) for _, match in matches]
        is_count = numbers in (list(range(len(lines))), list(range(1, len(lines) + 1)))
        if not is_count or len(lines) == 1:
            raise _two_readings(
                *lines[0], shown, "a number and its name", "a name that begins with a number",
                "write NUMBER: NAME, or NAME=NAME for a name like that",
            )  # fmt: skip
    if all(_is_value(match["name"]) for _, match in matches):
        return None
    rows = [
        ListedName(where, match["name"], [match["name"]], int(match["number"]))
        for where, match in matches
    ]
    rows, about_numbers = by_number(rows, shown)
    return tools_list(shown, "a list of NUMBER: NAME", rows, about_numbers)


def _is_value(text: str) -> bool:
    return number_of(text) is not None or color_of(text) is not None


def _valued(lines: Sequence[Line], shown: str) -> ClassList | None:
    matches = _matches(lines, _VALUE_LAST, shown)
    if matches is None or all(_is_value(match["name"]) for _, match in matches):
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


def _one_line(line: Line, shown: str) -> ClassList:
    """All names in one line between commas, semicolons or full stops; or a single name."""
    number, text = line
    readings = {
        "commas": _parts(text, ","),
        "semicolons": _parts(text, ";"),
        "full stops": sentences(text),
    }
    readings = {separator: parts for separator, parts in readings.items() if len(parts) > 1}
    if len(readings) > 1:
        (first, parts), (second, other_parts), *_ = readings.items()
        raise _two_readings(
            number, text, shown, f"{counted(len(parts))} between {first}",
            f"{counted(len(other_parts))} between {second}", "write one name a line",
        )  # fmt: skip
    if not readings:
        return _plain([line], shown)
    (separator, parts), *_ = readings.items()
    if any(_is_value(part) for part in parts):
        raise _two_readings(
            number, text, shown, f"{counted(len(parts))} between {separator}",
            "one name with a number or colour", "write one name a line, or NUMBER: NAME",
        )  # fmt: skip
    where = f"line {number} of {shown}, name"
    rows = [parsed(part, f"{where} {i}") for i, part in enumerate(parts, 1)]
    return ClassList(shown, f"one line of names between {separator}", tuple(rows))


def _parts(text: str, separator: str) -> list[str]:
    parts = list(islice(split(text, separator), _MAX_ROWS))
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


def sentences(text: str) -> list[str]:
    """The parts of "cup. table. spoon." or "cup . table", as grounding models are prompted.

    Raises:
        VocabularyError: If "St. Bernard" could be one name or two.
    """
    parts = [part.strip() for part in _SENTENCES.split(text.strip())]
    if len(parts) > 1 and not parts[-1]:
        return parts[:-1]
    if len(parts) > 1 and " . " in text:
        return parts
    return [text]


def _plain(lines: Sequence[Line], shown: str) -> ClassList:
    """One name in each line, in the project's own grammar."""
    lines, left_out = _undecorated(lines)
    (_, first), *others = lines
    if others and is_name_header(first):
        if first.casefold() in _MAYBE_HEADER:
            raise _two_readings(
                *lines[0], shown, "a heading", "a name",
                f"delete the line, or write {first}={first} for the name",
            )  # fmt: skip
        lines = others
        left_out.append(f"the heading {display_text(first)}")
    rows = []
    for number, line in lines:
        _refuse_two_readings(number, line, shown)
        rows.append(parsed(line, f"line {number} of {shown}"))
    if all(_is_value(line) for _, line in lines):
        raise _two_readings(
            *lines[0], shown, "a number without its name", "a name that is a number",
            f"add the name, or write {lines[0][1]}={lines[0][1]}",
        )  # fmt: skip
    if all(row.label != row.queries[0] and number_of(row.label) is not None for row in rows):
        raise _two_readings(
            *lines[0], shown, "a number and its name", "a label that is a number and its query",
            "write NUMBER: NAME, or an object of label to list of queries into a .json file",
        )  # fmt: skip
    if any(_is_marked(row.label) for row in rows):
        if rows[0].label == _IGNORED_BY_LABELME:  # it gives this row -1, and 0 to the next
            rows, left_out = rows[1:], [*left_out, display_text(_IGNORED_BY_LABELME)]
        return tools_list(shown, "labelme's labels.txt", rows, left_out)
    return ClassList(shown, "a list of one name a line", tuple(rows), tuple(left_out))


def _is_marked(label: object) -> bool:
    return isinstance(label, str) and bool(_MARKED.fullmatch(label)) and is_rest_word(label)


def _undecorated(lines: Sequence[Line]) -> tuple[list[Line], list[str]]:
    """The lines without what every one has around its name, and what that was."""
    kept, left_out = list(lines), []
    texts = [text for _, text in kept]
    if len(texts) > 1 and all(_BULLET.match(text) for text in texts):
        texts = [_BULLET.sub("", text, count=1) for text in texts]
        left_out.append("bullets")
    for separator in ",;":
        if len(texts) > 1 and all(_ends_with(text, separator) for text in texts[:-1]):
            texts = [t[:-1].rstrip() if _ends_with(t, separator) else t for t in texts]
            left_out.append(f"{separator!r} at the ends of lines")
    for quote in _QUOTES:
        if all(len(t) > 2 and t[0] == t[-1] == quote and quote not in t[1:-1] for t in texts):
            texts = [text[1:-1] for text in texts]
            left_out.append("quotes")
    return [(number, text) for (number, _), text in zip(kept, texts, strict=True) if text], left_out


def _ends_with(text: str, separator: str) -> bool:
    """Whether the separator is the last character, without a backslash."""
    return text.endswith(separator) and not list(split(text, separator))[-1]


def _refuse_two_readings(number: int, line: str, shown: str) -> None:
    """Refuse a line that could be one name or more than that."""
    for separator, read in _SEPARATORS.items():
        if len(parts := read(line)) > 1:
            raise _two_readings(
                number, line, shown, counted(len(parts)), f"one name with {separator}",
                "write one name a line, or \\ before what belongs to the name "
                "(a .json list takes names as they are)",
            )  # fmt: skip
    if has(line, ":") or "\t" in line:
        raise _two_readings(
            number, line, shown, "a name with something beside it", "one name",
            r"write the name alone, or \: for a colon in it",
        )  # fmt: skip


_SEPARATORS: dict[str, Callable[[str], list[str]]] = {
    "commas": lambda line: list(split(line, ",")),
    "semicolons": lambda line: list(split(line, ";")),
    "full stops": sentences,
}


def _two_readings(
    number: int, line: str, shown: str, first: str, second: str, cure: str
) -> VocabularyError:
    return VocabularyError(
        f"line {number} of {shown}, {display_text(line)}, could be {first} or {second}: {cure}"
    )
