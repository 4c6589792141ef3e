"""Class names at the door: from a command line, a file, or Python, into one checked list.

A label is what a result calls a class; its queries are the names the text tower reads. Most labels
are their own only query; `car=car|truck|van` gives one label three.

`class_lists/grammar.py` has the grammar of `Vocabulary.parse`; `class_lists/` reads the files.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from escnet.class_lists.class_list import ClassList, ListedName, counted, shown_text
from escnet.class_lists.data import literal_rows
from escnet.class_lists.grammar import parsed, split
from escnet.class_lists.lines import REMOVED, sentences
from escnet.class_lists.read import read_class_list
from escnet.errors import ConfigError, VocabularyError

MAX_LABELS = 65_534  # a 16-bit label map holds these, one more for background, and 65535 for void
MAX_NAME_WORDS = 64  # the longest name a text tower reads without cutting it
MAX_NAME_CHARACTERS = 1_000
BACKGROUND = "background"

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control, lone surrogate, line and paragraph separator
_INVISIBLE = {"Cf", "Zs"}  # joiners belong to many scripts, but a name needs something besides
_TAGS = range(0xE0020, 0xE0080)  # all that tells the flags of England and Scotland apart
_FILE = re.compile(r"@.+|.+\.(?:txt|json|ya?ml|xml|csv|names)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ordered class names of one call; made by `of`, `parse` or `read`.

    Its length is the number of labels, without the background.

    Attributes:
        labels: What the result calls the classes.
        queries: What the text tower reads, all labels' queries in label order.
        owner: For each query the index of its label.
        has_background: Whether one more class, "background", has what no label explains. It comes
            after the labels and has no query.
    """

    labels: tuple[str, ...]
    queries: tuple[str, ...]
    owner: tuple[int, ...]
    has_background: bool = False

    @property
    def queries_by_label(self) -> dict[str, tuple[str, ...]]:
        """The queries of each label, in label order."""
        by_label: dict[str, tuple[str, ...]] = dict.fromkeys(self.labels, ())
        for query, owner in zip(self.queries, self.owner, strict=True):
            by_label[self.labels[owner]] += (query,)
        return by_label

    @classmethod
    def of(
        cls,
        names: "Vocabulary | ClassList | str | Iterable[str] | Mapping[str, str | Iterable[str]]",
        *,
        has_background: bool = False,
    ) -> "Vocabulary":
        """A vocabulary from whatever Python has at hand.

        Args:
            names: A string in the grammar of `parse`; or literal names; or for each label its
                query or queries, literally; or a vocabulary; or what `read_class_list` found. A set
                is refused, as labels are positions and its order differs from run to run.
            has_background: Add the background class; a vocabulary that has it keeps it, and a
                tool's list leaves its own rows for pixels of no class out.

        Raises:
            VocabularyError: If there is no name, or one is empty, repeated, or too long.
        """
        if isinstance(names, Vocabulary):
            return names.with_background() if has_background else names
        if isinstance(names, ClassList):
            return _checked(names.without_rest if has_background else names.names, has_background)
        if isinstance(names, Path):
            raise VocabularyError(
                f"class names are the path {shown_text(str(names))}: read it by Vocabulary.read"
            )
        if isinstance(names, str):
            return cls.parse(names, has_background=has_background)
        return _checked(literal_rows(names, ""), has_background)

    @classmethod
    def parse(cls, text: str, *, has_background: bool = False) -> "Vocabulary":
        """A vocabulary from one line such as "road, car=car|truck|van, sky".

        Args:
            text: Labels separated by commas; the module's docstring has the grammar.
            has_background: Add the background class.

        Raises:
            VocabularyError: If there is no name, or one is empty, repeated, or too long.
        """
        if not text.strip():
            raise VocabularyError("no class names given: write for example 'road, sky'")
        parts = list(islice(split(text, ","), MAX_LABELS + 1))
        if len(parts) == 1:
            _refuse_two_readings(text.strip())
        entries = (parsed(part, f"class name {i}") for i, part in enumerate(parts, 1))
        return _checked(entries, has_background)

    @classmethod
    def read(cls, path: str | Path, *, has_background: bool = False) -> "Vocabulary":
        """A vocabulary from a file.

        Args:
            path: A class list of a kind that docs/reference/class-lists.md has, recognised by its
                content: one `label` or `label=query|query` a line, a JSON list or object, or what a
                tool wrote. `read_class_list` tells which kind it was and what was left out of it.
            has_background: Add the background class.

        Raises:
            VocabularyError: If the file cannot be read or has two readings, or its names are empty,
                repeated, too long or missing.
        """
        return cls.of(read_class_list(path), has_background=has_background)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def result_names(self) -> tuple[str, ...]:
        """The name of each index of a result: the labels, then the background if there is one."""
        return (*self.labels, BACKGROUND) if self.has_background else self.labels

    def with_background(self) -> "Vocabulary":
        """The same names and the background class.

        Raises:
            VocabularyError: If a label is called like it.
        """
        for position, label in enumerate(self.labels, 1):
            if _key(label) == BACKGROUND:
                raise VocabularyError(
                    f"class name {position}, {shown_text(label)}, is also what the rest class is "
                    "called: leave one of the two out"
                )
        return replace(self, has_background=True)

    def templated(self, template: str) -> tuple[str, ...]:
        """The queries, each put into a template; underscores are spaces to the text tower.

        Args:
            template: For example "A photo of a {} in the scene".

        Raises:
            ConfigError: If the template does not hold {} exactly once.
        """
        if (count := template.count("{}")) != 1:
            raise ConfigError(
                f"template {shown_text(template)} holds {{}} {count} times: "
                "write it once, where the class name goes"
            )
        before, after = template.split("{}")  # str.format would trip over braces in a name
        queries = (_without_underscores(q) if "_" in q else q for q in self.queries)
        return tuple(f"{before}{query}{after}" for query in queries)


def vocabulary_and_faults(
    entries: Iterable[ListedName],
) -> tuple[Vocabulary | None, list[VocabularyError]]:
    """The vocabulary of the entries without fault, None if there are none, and all faults."""
    faults: list[VocabularyError] = []
    try:
        return _checked(entries, False, faults.append), faults
    except VocabularyError as error:
        return None, [*faults, error]


def _raise(error: VocabularyError) -> None:
    raise error


def _checked(
    entries: Iterable[ListedName],
    has_background: bool,
    on_fault: Callable[[VocabularyError], None] = _raise,
) -> Vocabulary:
    """The vocabulary of these entries; an entry with a fault is told and left out."""
    labels: list[str] = []
    queries: list[str] = []
    owner: list[int] = []
    label_seen: dict[str, str] = {}  # comparable form to where it stands
    query_seen: dict[str, str] = {}
    for entry in islice(entries, MAX_LABELS + 1):
        try:
            label, own_queries = _checked_entry(entry, label_seen, query_seen)
        except VocabularyError as error:
            on_fault(error)
            continue
        queries += own_queries
        owner += [len(labels)] * len(own_queries)
        labels.append(label)
    if not labels:
        raise VocabularyError("no class names given: write for example 'road, sky'")
    if len(labels) > MAX_LABELS:
        raise VocabularyError(
            f"there are more than {MAX_LABELS:,} class names, the most a 16-bit label map holds: "
            "split them over several runs"
        )
    vocabulary = Vocabulary(tuple(labels), tuple(queries), tuple(owner))
    return vocabulary.with_background() if has_background else vocabulary


def _checked_entry(
    entry: ListedName, label_seen: dict[str, str], query_seen: dict[str, str]
) -> tuple[str, list[str]]:
    """The label and the queries of one entry, which join those that were seen."""
    label = _clean(entry.label, entry.where)
    where = f"{entry.where}, {shown_text(label)}"
    if (first := label_seen.setdefault(_key(label), where)) is not where:
        raise VocabularyError(f"{where}, repeats {first}: leave one out")
    queries: list[str] = []
    for position, raw in enumerate(entry.queries, 1):
        # a label that is its own query is named once
        query = label if raw is entry.label else _clean(raw, f"{where}, query {position}")
        if (key := _key(query)) in query_seen:
            raise VocabularyError(
                f"{where}, repeats the query {shown_text(query)} of {query_seen[key]}: "
                "leave one out"
            )
        query_seen[key] = where
        queries.append(query)
    if not queries:
        raise VocabularyError(f"{where}, has no query: give it a name to look for")
    return label, queries


def _refuse_two_readings(text: str) -> None:
    """Refuse a lone name that is a file's, or several names with other separators than commas."""
    if _FILE.fullmatch(text):
        raise VocabularyError(
            f"class name {shown_text(text)} looks like a file: give it as --classes-file, "
            "in Python to Vocabulary.read"
        )
    for separator, parts in {
        "semicolons": list(split(text, ";")),
        "full stops": sentences(text),
    }.items():
        if len(parts) > 1:
            raise VocabularyError(
                f"class names {shown_text(text)} could be {counted(len(parts))} between "
                f"{separator} or one: put commas between names, or a backslash before what "
                "belongs to the name"
            )


def _without_underscores(query: str) -> str:
    return " ".join(query.replace("_", " ").split()) or query


def _clean(name: object, where: str) -> str:
    """The name as it looks, with single spaces, in NFC; or an error that says where it stands."""
    if not isinstance(name, str):
        raise VocabularyError(f"{where} is of type {type(name).__name__}: class names are strings")
    name = name.translate(REMOVED)
    # Only blanks collapse: a line break inside a name is more likely a lost separator.
    name = re.sub(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+", " ", name).strip()
    if len(name) > MAX_NAME_CHARACTERS:  # before NFC, whose time can grow with the square
        raise VocabularyError(
            f"{where}, {shown_text(name)}, has {len(name):,} characters, "
            f"but at most {MAX_NAME_CHARACTERS:,} are read: shorten it"
        )
    name = unicodedata.normalize("NFC", name)
    if not name or not name.isprintable():
        _refuse_invisible(name, where)
    if (num_words := len(name.split())) > MAX_NAME_WORDS:
        raise VocabularyError(
            f"{where}, {shown_text(name)}, has {num_words} words, "
            f"but at most {MAX_NAME_WORDS} are read: shorten it"
        )
    return name


def _refuse_invisible(name: str, where: str) -> None:
    categories = [unicodedata.category(character) for character in name]
    for character, category in zip(name, categories, strict=True):
        if category in _UNPRINTABLE:
            raise VocabularyError(
                f"{where}, {shown_text(name)}, holds the unprintable character "
                f"U+{ord(character):04X}: remove it, or separate the names by commas"
            )
    if all(category in _INVISIBLE for category in categories):
        raise VocabularyError(f"{where} is empty: write a name or take the separator out")


def _key(name: str) -> str:
    """The form in which two names that look alike are equal."""
    if not name.isprintable():  # it holds joiners, which are seen only in what they join
        name = "".join(c for c in name if unicodedata.category(c) != "Cf" or ord(c) in _TAGS)
    name = _without_underscores(name) if "_" in name else name
    return unicodedata.normalize("NFC", name.casefold())
