"""What a list of class names says: its kind, its rows in order, and what of it is left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from escnet.class_lists.details import PLAIN, Color, Group, LabelDetails
from escnet.errors import VocabularyError

_SHOWN_CHARACTERS = 40
_SHOWN_NAMES = 3
# What tools call the pixels of no class. Asked as a query such a word would compete with the names.
_REST_WORDS = frozenset(
    {"background", "unlabeled", "unlabelled", "void", "ignore", "ignored", "unannotated"}
)


@dataclass(frozen=True, slots=True)
class ListedName:
    """One row of a list, its strings unchecked.

    Attributes:
        where: How an error calls the row, such as "line 3 of names.txt".
        label: What a result calls the class.
        queries: What the text tower reads.
        number: The number that the list gives the class: a label map's value, or another tool's id.
        color: The colour that the list gives the class, red, green and blue in 0..255.
        details: What a names file says besides.
    """

    where: str
    label: object
    queries: Sequence[object]
    number: int | None = None
    color: Color | None = None
    details: LabelDetails = PLAIN

    @property
    def is_rest(self) -> bool:
        """Whether the label is a word for pixels of no class, such as "__background__"."""
        return isinstance(self.label, str) and is_rest_word(self.label)


@dataclass(frozen=True, slots=True)
class ClassList:
    """The class names of a file, and how it was understood.

    Attributes:
        shown: How messages call the file.
        kind: Which list it is, such as "YOLO's data.yaml".
        names: The rows in the order of their labels 0, 1, ...
        left_out: What of the list is not used, such as "colours".
        groups: What a names file says of groups.
    """

    shown: str
    kind: str
    names: tuple[ListedName, ...]
    left_out: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def rest(self) -> tuple[ListedName, ...]:
        """The rows for pixels of no class; they keep their place, as labels are places."""
        return tuple(row for row in self.names if row.is_rest)

    @property
    def without_rest(self) -> tuple[ListedName, ...]:
        """The other rows, for whoever asks for a rest class besides."""
        return tuple(row for row in self.names if not row.is_rest)

    def summary(self, *, has_background: bool = False) -> str:
        """One line: the kind, the first names, what was left out, and what of the rest class.

        Args:
            has_background: A rest class is asked for, in the place of the rows for it.
        """
        asked = self.without_rest if has_background else self.names
        labels = [str(name.label) for name in asked]
        first = ", ".join(display_text(label) for label in labels[:_SHOWN_NAMES])
        more = ", ..." if len(labels) > _SHOWN_NAMES else ""
        line = f"{self.shown} is read as {self.kind}: {counted(len(labels))}, {first}{more}"
        rest = ", ".join(display_text(str(row.label)) for row in self.rest)
        left_out = (*self.left_out, *([rest] if rest and has_background else []))
        if left_out:
            line += f"; left out: {', '.join(left_out)}"
        if rest and not has_background:
            line += f"; {rest} is asked like any name (--background asks for the rest instead)"
        return line


def two_readings(
    number: int, line: str, shown: str, first: str, second: str, cure: str
) -> VocabularyError:
    """The error for a line that could be two things."""
    return VocabularyError(
        f"line {number} of {shown}, {display_text(line)}, could be {first} or {second}: {cure}"
    )


def counted(number: int, noun: str = "name") -> str:
    """The number with its noun, such as "1 name" or "2 names"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_rest_word(label: str) -> bool:
    """Whether tools call the pixels of no class so."""
    return label.strip(" _").casefold() in _REST_WORDS


def tools_list(
    shown: str, kind: str, rows: Iterable[ListedName], left_out: Iterable[str] = ()
) -> ClassList:
    """The list that a tool wrote.

    Raises:
        VocabularyError: If it has no row, or none but for pixels of no class.
    """
    found = ClassList(shown, kind, tuple(rows), tuple(dict.fromkeys(left_out)))
    if not found.without_rest:
        only = " besides the rest class" if found.names else ""
        raise VocabularyError(f"{shown}, {kind}, holds no class names{only}: add some")
    return found


def by_number(rows: Iterable[ListedName], shown: str) -> tuple[list[ListedName], list[str]]:
    """The rows in the order of their numbers, and what to say of the numbers.

    Labels are 0, 1, ... in this order; so nothing is said of numbers that are just these. A row
    below 0, such as Cityscapes' "license plate", is left out: no pixel can have its number.

    Raises:
        VocabularyError: If two rows have the same number.
    """
    rows = sorted(rows, key=lambda row: (row.number is None, row.number or 0))
    below = [f"{display_text(str(row.label))} ({row.number})" for row in rows if _is_below(row)]
    rows = rows[len(below) :]
    numbers = [row.number for row in rows if row.number is not None]
    for first, second in pairwise(rows):
        if first.number is not None and first.number == second.number:
            raise VocabularyError(
                f"{shown} gives {display_text(str(first.label))} and "
                f"{display_text(str(second.label))} the number {first.number}: number them apart"
            )
    if not numbers or numbers == list(range(len(rows))):
        return rows, below
    return rows, [*below, f"the numbers {numbers[0]} to {numbers[-1]}"]


def _is_below(row: ListedName) -> bool:
    return row.number is not None and row.number < 0


def display_text(text: str, *, quoted: bool = True) -> str:
    """The text for a message: short, on one line, and printable on any terminal."""
    text = text.strip()
    if len(text) > _SHOWN_CHARACTERS and quoted:
        text = text[: _SHOWN_CHARACTERS - 1].rstrip() + "…"
    return repr(text) if quoted or not text.isprintable() else text
