"""Which class a label of a label map stands for, as a list beside the label maps says it.

A row is a name, and where the list gives them its label and its colour. Rows without labels are
0, 1, 2, ... in their order.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escnet.data.label_map import Colour
from escnet.errors import DatasetError, VocabularyError
from escnet.files import shown_path
from escnet.small_file import SmallFile
from escnet.vocabulary import Vocabulary

# Where people and programs put the list, in the order in which it is looked for.
FILE_NAMES = (
    *("classes.json", "labelmap.txt", "_classes.csv", "classes.csv", "class_dict.csv"),
    *("classes.txt", "labels.txt", "label_names.txt", "class_names.txt", "codes.txt", "names.txt"),
    *("id2label.json", "label2id.json", "mask_targets.json", "labels.json"),
)
REST_NAMES = frozenset(  # what lists call the row of no class, without marks around it
    {
        "background",
        "unlabeled",
        "unlabelled",
        "void",
        "ignore",
        "ignored",
        "unannotated",
    }
)

_LIST = SmallFile(noun="", error=DatasetError, cure="correct it there", most_bytes=16 * 2**20)
_COLOURED_LINE = re.compile(r"(?P<name>[^:]+):\s*(?P<colour>\d+\s*,\s*\d+\s*,\s*\d+)\s*(:.*)?")
_NUMBERED_LINE = re.compile(r"(?P<label>\d+)(\s*[:,;=]\s*|\s+)(?P<name>\S.*)")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Row:
    """One class: its name, and its label and colour where the list has them."""

    name: str
    label: int | None = None
    colour: Colour | None = None

    @property
    def is_rest(self) -> bool:
        """Whether it is named like pixels of no class."""
        return self.name.strip(" _").casefold() in REST_NAMES


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The rows of a list, and what messages call it."""

    rows: tuple[Row, ...]
    shown: str

    @classmethod
    def of_names(cls, names: Iterable[str], shown: str) -> "LabelTable":
        """A table of names alone."""
        return cls(tuple(Row(name) for name in names), shown)

    @classmethod
    def read(cls, path: str | Path) -> "LabelTable":
        """The table in a file, recognised by its content.

        Raises:
            DatasetError: If the file cannot be read, or holds none.
        """
        path, shown = Path(path), shown_path(path)
        return cls(tuple(_rows_of(_LIST.text_of(path), shown)), shown).checked()

    def checked(self) -> "LabelTable":
        """The table, if its names can be asked, and no label or colour is that of two.

        Raises:
            DatasetError: If they cannot, or one is.
        """
        try:
            names = Vocabulary.of([row.name for row in self.rows]).labels
        except VocabularyError as error:
            raise DatasetError(f"{self.shown} has wrong class names: {error}") from None
        rows = tuple(Row(n, r.label, r.colour) for n, r in zip(names, self.rows, strict=True))
        _refuse_repeats(rows, self.shown)
        return LabelTable(rows, self.shown)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all rows."""
        return tuple(row.name for row in self.rows)

    @property
    def has_labels(self) -> bool:
        """Whether each row says its label."""
        return all(row.label is not None for row in self.rows)

    @property
    def has_colours(self) -> bool:
        """Whether each row says its colour."""
        return all(row.colour is not None for row in self.rows)

    def by_colour(self) -> dict[Colour, int]:
        """For each colour the label that its rows stand for: theirs, or their place."""
        return {
            row.colour: place if row.label is None else row.label
            for place, row in enumerate(self.rows)
            if row.colour is not None
        }


def find_table(folders: Iterable[Path]) -> LabelTable | None:
    """The table beside label maps; None if there is none.

    Args:
        folders: Where it may be.

    Raises:
        DatasetError: If two lists differ, or one cannot be read.
    """
    found: dict[Path, LabelTable] = {}
    for folder in dict.fromkeys(folders):
        for name in FILE_NAMES:
            if (folder / name).is_file():
                found[folder / name] = LabelTable.read(folder / name)
    if not found:
        return None
    tables = list(found.values())
    for other in tables[1:]:
        if other.names != tables[0].names:
            raise DatasetError(
                f"{tables[0].shown} lists {_first(tables[0])} and {other.shown} {_first(other)}: "
                "say which one is meant with --classes-file"
            )
    # of equal lists the one that says most
    return max(tables, key=lambda table: table.has_labels + table.has_colours)


def _first(table: LabelTable) -> str:
    names = table.names
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _rows_of(text: str, shown: str) -> Iterable[Row]:
    stripped = text.lstrip()
    if stripped.startswith(("{", "[")):
        return _json_rows(_LIST.parsed_json(stripped.encode(), shown), shown)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise DatasetError(f"{shown} holds no class names: add some")
    if all(_COLOURED_LINE.fullmatch(line) for line in lines):
        return [_coloured(line, shown) for line in lines]
    head = [cell.strip().casefold() for cell in lines[0].split(",")]
    if "name" in head or "class" in head:
        return list(_csv_rows(lines, head, shown))
    if all(_NUMBERED_LINE.fullmatch(line) for line in lines):
        matches = [_NUMBERED_LINE.fullmatch(line) for line in lines]
        return [Row(m["name"].strip(), _label(m["label"], shown)) for m in matches if m]
    return [Row(line) for line in lines]


def _coloured(line: str, shown: str) -> Row:
    match = _COLOURED_LINE.fullmatch(line)
    assert match is not None  # noqa: S101 -- all lines matched
    return Row(match["name"].strip(), None, _colour(match["colour"].split(","), shown))


def _csv_rows(lines: list[str], head: list[str], shown: str) -> Iterable[Row]:
    place = {name: index for index, name in enumerate(head)}
    name_at = place.get("name", place.get("class", 0))
    label_at = next(
        (place[key] for key in ("pixel value", "id", "label", "value") if key in place), None
    )
    colour_at = [place[key] for key in ("r", "g", "b") if key in place]
    for cells in csv.reader(lines[1:], skipinitialspace=True):
        if len(cells) < len(head):
            raise DatasetError(
                f"{shown} has a line of {len(cells)} cells, not {len(head)}: mend it"
            )
        label = None if label_at is None else _label(cells[label_at], shown)
        colour = _colour([cells[i] for i in colour_at], shown) if len(colour_at) == 3 else None
        yield Row(cells[name_at].strip(), label, colour)


def _json_rows(table: Any, shown: str) -> list[Row]:
    for key in ("classes", "categories", "id2label", "label2id", "names", "labels", "mask_targets"):
        if isinstance(table, dict) and isinstance(table.get(key), list | dict):
            rows = _json_rows(table[key], shown)
            return _with_palette(rows, table.get("palette"), shown)
    if isinstance(table, list) and all(isinstance(entry, str) for entry in table) and table:
        return [Row(entry) for entry in table]
    if (
        isinstance(table, list)
        and table
        and all(isinstance(e, dict) and "name" in e for e in table)
    ):
        return [_object_row(entry, shown) for entry in table]
    if isinstance(table, dict) and table:
        if all(
            isinstance(name, str) for name in table.values()
        ):  # {"0": "cat"}, {"#RRGGBB": "cat"}
            return [
                Row(name, None, _colour(key, shown)) if _HEX.fullmatch(key)
                else Row(name, _label(key, shown))
                for key, name in table.items()
            ]  # fmt: skip
        if all(type(label) is int for label in table.values()):  # {"cat": 0}
            return [Row(name, _label(label, shown)) for name, label in table.items()]
    raise DatasetError(
        f"{shown} holds no list of class names: give a list, or an object from label to name"
    )


def _object_row(entry: Mapping[str, Any], shown: str) -> Row:
    label = next(
        (entry[key] for key in ("id", "label", "value") if type(entry.get(key)) is int), None
    )
    colour = entry.get("color", entry.get("colour"))
    return Row(
        str(entry["name"]),
        None if label is None else _label(label, shown),
        None if colour is None else _colour(colour, shown),
    )


def _with_palette(rows: list[Row], palette: Any, shown: str) -> list[Row]:
    if not isinstance(palette, list) or len(palette) != len(rows):
        return rows
    return [
        Row(row.name, row.label, row.colour or _colour(colour, shown))
        for row, colour in zip(rows, palette, strict=True)
    ]


def _label(value: str | int, shown: str) -> int:
    text = str(value).strip()
    if not text.isdecimal() or len(text) > 5 or int(text) > 65_535:
        raise DatasetError(f"{shown} has {text[:20]!r} as a label: give an integer in 0..65535")
    return int(text)


def _colour(value: Any, shown: str) -> Colour:
    if isinstance(value, str) and _HEX.fullmatch(value):
        value = list(bytes.fromhex(value[1:]))
    texts = [str(part).strip() for part in value] if isinstance(value, list) else []
    if len(texts) != 3 or not all(text.isdecimal() and int(text[:4]) <= 255 for text in texts):
        raise DatasetError(f"{shown} has {str(value)[:30]!r} as a colour: give three of 0..255")
    red, green, blue = map(int, texts)
    return red, green, blue


def _refuse_repeats(rows: Iterable[Row], shown: str) -> None:
    for kind in ("label", "colour"):
        found: dict[object, str] = {}
        for row in rows:
            value = getattr(row, kind)
            if value is not None and found.setdefault(value, row.name) != row.name:
                raise DatasetError(
                    f"{shown} gives {found[value]!r} and {row.name!r} the {kind} {value}: "
                    "choose different ones"
                )
