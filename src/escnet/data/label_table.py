"""Which class a label of a label map stands for, as a list beside the label maps says it.

A row is a name, and where the list gives them its label and its colour. Rows without labels are
0, 1, 2, ... in their order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from escnet.class_lists.class_list import is_rest_word
from escnet.class_lists.read import read_class_list
from escnet.data.label_map import Colour
from escnet.errors import DatasetError, VocabularyError
from escnet.files import display_path
from escnet.vocabulary import Vocabulary

# Where people and programs put the list, in the order in which it is looked for.
FILE_NAMES = (
    *("classes.json", "labelmap.txt", "_classes.csv", "classes.csv", "class_dict.csv"),
    *("classes.txt", "labels.txt", "label_names.txt", "class_names.txt", "codes.txt", "names.txt"),
    *("id2label.json", "label2id.json", "mask_targets.json", "labels.json", "data.yaml"),
)
NUM_VALUES = 65_536  # that a label map can hold


@dataclass(frozen=True, slots=True)
class Row:
    """One class: its name, and its label and colour where the list has them."""

    name: str
    label: int | None = None
    colour: Colour | None = None

    @property
    def is_rest(self) -> bool:
        """Whether it is named like pixels of no class."""
        return is_rest_word(self.name)


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
        try:
            return cls(tuple(_rows_of(Path(path))), display_path(path)).checked()
        except VocabularyError as error:
            raise DatasetError(str(error)) from None

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
    tables_here: dict[Path, LabelTable] = {}
    for folder in dict.fromkeys(folders):
        for name in FILE_NAMES:
            if (folder / name).is_file():
                tables_here[folder / name] = LabelTable.read(folder / name)
    if not tables_here:
        return None
    tables = list(tables_here.values())
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


def _rows_of(path: Path) -> Iterator[Row]:
    for row in read_class_list(path).names:
        if row.number is not None and not 0 <= row.number < NUM_VALUES:
            raise DatasetError(
                f"{row.where} has {row.number} as a label: label maps hold 0..{NUM_VALUES - 1}"
            )
        if not isinstance(row.label, str):
            kind = type(row.label).__name__
            raise DatasetError(f"{row.where} is of type {kind}: give class names as strings")
        yield Row(row.label, row.number, row.color)


def _refuse_repeats(rows: Iterable[Row], shown: str) -> None:
    for kind in ("label", "colour"):
        name_of: dict[object, str] = {}
        for row in rows:
            value = getattr(row, kind)
            if value is not None and name_of.setdefault(value, row.name) != row.name:
                raise DatasetError(
                    f"{shown} gives {name_of[value]!r} and {row.name!r} the {kind} {value}: "
                    "choose different ones"
                )
