"""Class names in tables: a column of names beside numbers, colours or counts."""

import csv
import re
from collections.abc import Iterable, Sequence

from escnet.class_lists.class_list import (
    ClassList,
    ListedName,
    by_number,
    display_text,
    tools_list,
)
from escnet.class_lists.values import color_of, is_numeric, number_of
from escnet.errors import VocabularyError

Line = tuple[int, str]  # its number in the file, its text

_DELIMITERS = ("\t", ";", ",", "  ")
_NAME_HEADERS = frozenset(
    {"name", "names", "class", "classes", "label", "labels", "category", "categories", "title"}
    | {f"{a}{b}name" for a in ("class", "label", "category", "display") for b in ("", " ", "_")}
    | {"klasse", "bezeichnung", "kategorie", "etikett", "classe", "nom", "catégorie", "étiquette"}
    | {
        "clase",
        "nombre",
        "categoría",
        "etiqueta",
        "categoria",
        "nome",
        "nazwa",
        "класс",
        "название",
    }
    | {"类别", "名称", "标签", "類別", "名前", "クラス", "クラス名", "클래스", "이름"}
)
_BEST_HEADERS = ("name", "displayname", "display name", "display_name")
# Not such as "count" or "frequency", whose numbers are of no label map.
_NUMBER_HEADER = re.compile(
    r"(?:(?:class|label|category|train|pixel|cat|gr[ae]y)[ _]?)?"
    r"(?:id|idx|index|number|num|no|nr|nummer|value|wert|code|level|label|class|pixel|gr[ae]y)\.?|#|"
)
_COLOR_HEADERS = frozenset(
    {"r", "g", "b", "a", "red", "green", "blue", "alpha", "rgb", "rgba", "color", "colour", "hex"}
)
_KINDS = {
    ("idx", "ratio", "train", "val", "stuff", "name"): "ADE20K's objectInfo150.txt",
    ("pixel value", "class"): "Roboflow's _classes.csv",
}


def is_name_header(text: str) -> bool:
    """Whether a cell is what the head of a column of names says."""
    return text.strip().casefold() in _NAME_HEADERS


def is_heading(text: str) -> bool:
    """Whether a line has several words that stand above columns, one of them above names."""
    words = [word for word in re.split(r"[\W_]+", text.casefold()) if word]
    known = _NAME_HEADERS | _COLOR_HEADERS
    return (
        len(words) > 1
        and any(word in _NAME_HEADERS for word in words)
        and all(word in known or _NUMBER_HEADER.fullmatch(word) for word in words)
    )


def read_table(lines: Sequence[Line], shown: str) -> ClassList | None:
    """The class list in a table; None if the lines are no table.

    Raises:
        VocabularyError: If two columns could be the names, or two rows have the same number.
    """
    for delimiter in _DELIMITERS:
        rows = _rows(lines, delimiter)
        if rows is not None:
            return _of_rows(rows, [number for number, _ in lines], shown)
    return None


def _rows(lines: Sequence[Line], delimiter: str) -> list[list[str]] | None:
    """The cells, if every line has as many, and a column holds numbers or has a known heading."""
    if not all(delimiter in text for _, text in lines):
        return None
    try:
        rows = [[cell.strip() for cell in row] for row in _cells(lines, delimiter)]
    except csv.Error:
        return None
    if len(rows) != len(lines) or len({len(row) for row in rows}) != 1:
        return None
    body = rows[1:] if len(rows) > 1 else rows
    if any(_is_value(column) for column in zip(*body, strict=True)):
        return rows
    return rows if len(rows) > 1 and any(is_name_header(cell) for cell in rows[0]) else None


def _cells(lines: Sequence[Line], delimiter: str) -> Iterable[Sequence[str]]:
    texts = [text for _, text in lines]
    if delimiter == "  ":
        return [re.split(r"\s{2,}", text) for text in texts]
    return csv.reader(texts, delimiter=delimiter, skipinitialspace=True)


def _is_value(column: Sequence[str]) -> bool:
    """Whether a column holds numbers or colours, not only empty cells."""
    return any(column) and all(is_numeric(cell) or color_of(cell) is not None for cell in column)


def _of_rows(rows: list[list[str]], numbers: Sequence[int], shown: str) -> ClassList:
    values = [_is_value(column) for column in zip(*(rows[1:] or rows), strict=True)]
    header = rows[0] if _is_header(rows[0], values) else None
    body, numbers = (rows, numbers) if header is None else (rows[1:], numbers[1:])
    heads = [head.casefold() for head in header or []]
    if header and heads[0] in {"filename", "file", "image"} and all(values[1:]):
        return _of_heads(header, numbers, shown)
    name_column = _name_column(heads, body, values, shown)
    number_column = _number_column(heads, body, name_column)
    color_columns = _color_columns(body, values, {name_column, number_column})
    listed = [
        ListedName(
            f"line {number} of {shown}",
            row[name_column],
            [row[name_column]],
            None if number_column is None else number_of(row[number_column]),
            _color(row, color_columns),
        )
        for number, row in zip(numbers, body, strict=True)
    ]
    listed, about_numbers = by_number(listed, shown)
    left_out = [f"the heading {display_text(', '.join(header))}"] if header else []
    left_out += [*about_numbers, *(["colours"] if color_columns else [])]
    used = {name_column, number_column, *color_columns}
    if others := [display_text(heads[i]) for i in range(len(heads)) if i not in used]:
        left_out.append(f"the columns {', '.join(others)}")
    kind = _KINDS.get(tuple(heads), "a table with a column of names")
    return tools_list(shown, kind, listed, left_out)


def _is_header(first: Sequence[str], values: Sequence[bool]) -> bool:
    """Whether the first row has words where the others have values."""
    return not any(values) or any(
        is_value and not _is_value([cell]) for cell, is_value in zip(first, values, strict=True)
    )


def _of_heads(header: Sequence[str], numbers: Sequence[int], shown: str) -> ClassList:
    """The names in the heading of a table of files, as Roboflow has it for many labels a file."""
    where = f"line {numbers[0] - 1} of {shown}" if numbers else shown
    rows = [
        ListedName(f"{where}, column {i}", name, [name]) for i, name in enumerate(header[1:], 2)
    ]
    return tools_list(shown, "a table of files with a column for each name", rows, ["the files"])


def _name_column(
    heads: Sequence[str], body: Sequence[Sequence[str]], values: Sequence[bool], shown: str
) -> int:
    words = [i for i, is_value in enumerate(values) if not is_value and any(r[i] for r in body)]
    headed = [i for i in words if heads and heads[i] in _NAME_HEADERS]
    headed = [i for best in _BEST_HEADERS for i in headed if heads[i] == best][:1] or headed
    chosen = headed if len(headed) == 1 else words
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise VocabularyError(
            f"{shown} is a table of numbers without a column of names: add the names, "
            "or write label=query for names that are numbers"
        )
    first, second = (heads[i] if heads else body[0][i] for i in chosen[:2])
    raise VocabularyError(
        f"{shown} is a table whose names could be the column of {display_text(first)} or that of "
        f"{display_text(second)}: keep one of them, or head it 'name'"
    )


def _number_column(
    heads: Sequence[str], body: Sequence[Sequence[str]], name_column: int
) -> int | None:
    """The column of the classes' numbers: by its heading, else the first of different integers."""
    integers = [
        i
        for i in range(len(body[0]))
        if i != name_column and all(number_of(row[i]) is not None for row in body)
    ]
    if heads:
        integers = [i for i in integers if _NUMBER_HEADER.fullmatch(heads[i])]
    headed = sorted((i for i in integers if heads and heads[i]), key=lambda i: heads[i] != "id")
    different = [i for i in integers if len({row[i] for row in body}) == len(body)]
    is_color = len(integers) == 3 and len(body[0]) == 4  # a name and red, green, blue
    return next(iter(headed or ([] if is_color else different)), None)


def _color_columns(
    body: Sequence[Sequence[str]], values: Sequence[bool], used: set[int | None]
) -> tuple[int, ...]:
    """One column of colours, or the first three in a row of integers in 0..255."""
    free = [i for i, is_value in enumerate(values) if is_value and i not in used]
    for i in free:
        if all(color_of(row[i]) is not None for row in body):
            return (i,)
    for i in free:
        three = (i, i + 1, i + 2)
        if set(three) <= set(free) and all(_color(row, three) is not None for row in body):
            return three
    return ()


def _color(row: Sequence[str], columns: tuple[int, ...]) -> tuple[int, int, int] | None:
    if not columns:
        return None
    return color_of(row[columns[0]] if len(columns) == 1 else [row[i] for i in columns])
