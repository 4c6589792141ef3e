"""What a list of class names says: its kind, its rows in order, and what of it is left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from escnet.errors import VocabularyError

Color = tuple[int, int, int]

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
    """

    where: str
    label: object
    queries: Sequence[object]
    number: int | None = None
    color: Color | None = None

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
        names: The rows that are classes, in the order of their labels 0, 1, ...
        rest: The rows left out because they stand for pixels of no class.
        left_out: What else of the list is not used, such as "colours".
        with_rest: All rows in their order, where some stand for pixels of no class.
    """

    shown: str
    kind: str
    names: tuple[ListedName, ...]
    rest: tuple[ListedName, ...] = ()
    left_out: tuple[str, ...] = ()
    with_rest: tuple[ListedName, ...] = ()

    @property
    def rows(self) -> tuple[ListedName, ...]:
        """All rows in their order, those that stand for pixels of no class among them."""
        return self.with_rest or self.names

    @property
    def summary(self) -> str:
        """One line: the kind, the first names, and what was left out."""
        labels = [str(name.label) for name in self.names]
        first = ", ".join(shown_text(label) for label in labels[:_SHOWN_NAMES])
        more = ", ..." if len(labels) > _SHOWN_NAMES else ""
        line = f"{self.shown} is read as {self.kind}: {counted(len(labels))}, {first}{more}"
        if parts := (*self.left_out, *(_rest_shown(row) for row in self.rest)):
            line += f"; left out: {', '.join(parts)}"
        return line + (" (--background asks for the rest)" if self.rest else "")


def counted(number: int, noun: str = "name") -> str:
    """The number with its noun, such as "1 name" or "2 names"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _rest_shown(row: ListedName) -> str:
    number = "" if row.number is None else f"{row.number} "
    return f"{number}{shown_text(str(row.label))}"


def is_rest_word(label: str) -> bool:
    """Whether tools call the pixels of no class so."""
    return label.strip(" _").casefold() in _REST_WORDS


def without_rest(
    shown: str, kind: str, rows: Iterable[ListedName], left_out: Iterable[str] = ()
) -> ClassList:
    """The list with the rows of no class set apart.

    Raises:
        VocabularyError: If no other row is there.
    """
    rows = tuple(rows)
    names = tuple(row for row in rows if not row.is_rest)
    if not names:
        only = " besides the rest class" if rows else ""
        raise VocabularyError(f"{shown}, {kind}, holds no class names{only}: add some")
    rest = tuple(row for row in rows if row.is_rest)
    return ClassList(shown, kind, names, rest, tuple(dict.fromkeys(left_out)), rows)


def by_number(rows: Iterable[ListedName], shown: str) -> tuple[list[ListedName], list[str]]:
    """The rows in the order of their numbers, and what to say of the numbers.

    Labels are 0, 1, ... in this order; so nothing is said of numbers that are just these.

    Raises:
        VocabularyError: If two rows have the same number.
    """
    rows = sorted(rows, key=lambda row: (row.number is None, row.number or 0))
    numbers = [row.number for row in rows]
    for first, second in pairwise(rows):
        if first.number is not None and first.number == second.number:
            raise VocabularyError(
                f"{shown} gives {shown_text(str(first.label))} and "
                f"{shown_text(str(second.label))} the number {first.number}: number them apart"
            )
    kept = [row.number for row in rows if not row.is_rest]
    if not rows or numbers[0] is None or kept == list(range(len(kept))):
        return rows, []
    return rows, [f"the numbers {numbers[0]} to {numbers[-1]}"]


def shown_text(text: str, *, quoted: bool = True) -> str:
    """The text for a message: short, on one line, and printable on any terminal."""
    text = text.strip()
    if len(text) > _SHOWN_CHARACTERS and quoted:
        text = text[: _SHOWN_CHARACTERS - 1].rstrip() + "…"
    return repr(text) if quoted or not text.isprintable() else text
