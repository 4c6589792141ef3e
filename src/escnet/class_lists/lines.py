"""Class names in lines of text: one a line, all in one line, or beside numbers and colours.

A line that could be one name or several, or a name with something beside it, is an error that names
both readings.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from itertools import islice

from escnet.class_lists.class_list import (
    ClassList,
    ListedName,
    counted,
    display_text,
    is_rest_word,
    tools_list,
    two_readings,
)
from escnet.class_lists.decorations import without_decorations
from escnet.class_lists.doubtful_lines import refuse_no_name, refuse_two_readings
from escnet.class_lists.grammar import parsed, sentences, split
from escnet.class_lists.tables import Line, is_heading, is_name_header, read_table
from escnet.class_lists.valued_lines import is_value, read_hex_lines, read_valued_lines
from escnet.class_lists.values import number_of
from escnet.errors import VocabularyError

# Byte order marks, spaces without width, soft hyphens, and directions of writing: they come along
# when text is copied, and would make a second class that looks like the first.
REMOVED = dict.fromkeys(
    [0xFEFF, 0x200B, 0x2060, 0xAD, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)

_MAX_ROWS = 2**16  # more than a vocabulary has, which refuses what is beyond its own limit
_SET_IN = re.compile(r"\t| {2}")
_DIRECTIVE = re.compile(r"sep=.|INTERPOLATION:\w+")  # of Excel and QGIS, for the reader
_IGNORED_BY_LABELME = "__ignore__"
_MARKED = re.compile(r"_+\w+?_+")  # labelme's __ignore__ and _background_
_MAYBE_HEADER = frozenset({"label", "labels"})  # which are things as well


def lines_of(text: str, comment: str | None = "#") -> list[Line]:
    """The lines that are not blank and no comments, with their numbers; no more than are used."""
    lines = ((i, line.translate(REMOVED).strip()) for i, line in enumerate(StringIO(text, None), 1))
    written = ((i, t) for i, t in lines if t and not (comment and t.startswith(comment)))
    return list(islice(((i, t) for i, t in written if not _DIRECTIVE.fullmatch(t)), _MAX_ROWS))


def read_lines(text: str, shown: str) -> ClassList:
    """The class list in lines of text.

    Raises:
        VocabularyError: If there is none, or a line has two readings.
    """
    lines = lines_of(text)
    if not lines:
        if (class_list := read_hex_lines(lines_of(text, comment=None), shown)) is None:
            raise VocabularyError(f"{shown} holds no class names: write one a line")
        return class_list
    if len(lines) == 1:
        return read_valued_lines(lines, shown) or _one_line(lines[0], shown)
    bare, left_out = _undecorated(lines)
    if (class_list := read_valued_lines(bare, shown)) is not None:
        return replace(class_list, left_out=(*left_out, *class_list.left_out))
    if (class_list := read_table(lines, shown)) is not None:
        return class_list
    _refuse_set_in(text, lines, shown)
    if all("  " in line for _, line in lines):
        raise two_readings(
            *lines[0], shown, "a row of columns", "one name", "write the names alone, one a line"
        )
    return _plain(bare, left_out, shown)


def _undecorated(lines: Sequence[Line]) -> tuple[list[Line], list[str]]:
    texts, left_out = without_decorations([text for _, text in lines])
    return [(n, text) for (n, _), text in zip(lines, texts, strict=True) if text], left_out


def _refuse_set_in(text: str, lines: Sequence[Line], shown: str) -> None:
    """Refuse lines that are set in below one that is not, as parts below a whole are."""
    as_written = dict(enumerate(StringIO(text, None), 1))
    (first_number, first), *others = lines
    for number, line in others:
        if not as_written[first_number][0].isspace() and _SET_IN.match(as_written[number]):
            raise two_readings(
                number, line, shown, f"a part of {display_text(first)} above", "a name beside it",
                "begin all names at the margin, or write a names file with groups",
            )  # fmt: skip


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
        raise two_readings(
            number, text, shown, f"{counted(len(parts))} between {first}",
            f"{counted(len(other_parts))} between {second}", "write one name a line",
        )  # fmt: skip
    if not readings:
        return _plain([line], [], shown)
    (separator, parts), *_ = readings.items()
    if any(is_value(part) for part in parts):
        raise two_readings(
            number, text, shown, f"{counted(len(parts))} between {separator}",
            "one name with a number or colour", "write one name a line, or NUMBER: NAME",
        )  # fmt: skip
    lines, left_out = _undecorated([(number, part.strip()) for part in parts])
    if (class_list := read_valued_lines(lines, shown)) is not None:
        return class_list
    parts = [part for _, part in lines]
    if is_heading(text):
        raise VocabularyError(f"{shown} holds only the heading {display_text(text)}: add rows")
    for part in parts:
        refuse_no_name(number, part, shown)
    if len(label := list(split(parts[0], "="))) > 1 and is_name_header(label[0]):
        raise two_readings(
            number, text, shown, "a heading and names", f"the label {display_text(label[0])} and "
            "others", f"write the names alone, or {label[0].strip()} last",
        )  # fmt: skip
    where = f"line {number} of {shown}, name"
    rows = [parsed(part, f"{where} {i}") for i, part in enumerate(parts, 1)]
    return ClassList(shown, f"one line of names between {separator}", tuple(rows), tuple(left_out))


def _parts(text: str, separator: str) -> list[str]:
    parts = list(islice(split(text, separator), _MAX_ROWS))
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


def _plain(lines: Sequence[Line], left_out: list[str], shown: str) -> ClassList:
    """One name in each line, in the project's own grammar, or as it stands where it was quoted."""
    (_, first), *others = lines
    if others and is_name_header(first):
        if first.casefold() in _MAYBE_HEADER:
            raise two_readings(
                *lines[0], shown, "a heading", "a name",
                f"delete the line, or write {first}={first} for the name",
            )  # fmt: skip
        lines = others
        left_out.append(f"the heading {display_text(first)}")
    rows = []
    for number, line in lines:
        where = f"line {number} of {shown}"
        if "quotes" in left_out:
            rows.append(ListedName(where, line, [line]))
            continue
        refuse_two_readings(number, line, shown)
        rows.append(parsed(line, where))
    if all(is_value(line) for _, line in lines):
        raise two_readings(
            *lines[0], shown, "a number without its name", "a name that is a number",
            f"add the name, or write {lines[0][1]}={lines[0][1]}",
        )  # fmt: skip
    if all(row.label != row.queries[0] and number_of(row.label) is not None for row in rows):
        raise two_readings(
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
