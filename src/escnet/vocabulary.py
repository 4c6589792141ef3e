r"""Class names at the door: from a command line, a file, or Python, into one checked list.

A label is what a result calls a class; its queries are the names the text tower reads. Most labels
are their own only query; `car=car|truck|van` gives one label three.

The grammar of `Vocabulary.parse` and of .txt files: `label` or `label=query|query`. A backslash
takes the meaning from the character after it, if that is one of `, = | # \`; before any other
character it is an ordinary backslash.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from escnet.errors import ConfigError, VocabularyError
from escnet.small_file import SmallFile

MAX_LABELS = 65_534  # a 16-bit label map holds these, one more for background, and 65535 for void
MAX_NAME_WORDS = 64  # the longest name a text tower reads without cutting it
MAX_NAME_CHARACTERS = 1_000
MAX_FILE_BYTES = 16 * 2**20  # a file beyond this is no list of names, and must not fill the memory
BACKGROUND = "background"

_LIST = SmallFile(
    noun="",
    error=VocabularyError,
    cure="give a list of class names",
    if_missing="check the path of the class names",
    most_bytes=MAX_FILE_BYTES,
)
_SPECIAL = ",=|#\\"
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control, lone surrogate, line and paragraph separator
_INVISIBLE = {"Cf", "Zs"}  # joiners belong to many scripts, but a name needs something besides
# Byte order marks, spaces without width, soft hyphens, and directions of writing: they come along
# when text is copied, and would make a second class that looks like the first.
_REMOVED = dict.fromkeys(
    [0xFEFF, 0x200B, 0x2060, 0xAD, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
_TAGS = range(0xE0020, 0xE0080)  # all that tells the flags of England and Scotland apart
_LIST_KEYS = ("classes", "names", "labels", "categories")  # where .json files have their list
_SHOWN_CHARACTERS = 40


class _Entry(NamedTuple):
    """One label as it came in, unchecked; `where` is how an error calls it."""

    where: str
    label: object
    queries: Iterable[object]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ordered class names of one call; made by `of`, `parse` or `read`.

    Its length is the number of labels, without the background.

    Attributes:
        labels: What the result calls the classes.
        queries: What the text tower reads, all labels' queries in label order.
        owner: For each query the index of its label.
        has_background: Whether one more class, "background", wins where no label does. It comes
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
        names: "Vocabulary | str | Iterable[str] | Mapping[str, str | Iterable[str]]",
        *,
        has_background: bool = False,
    ) -> "Vocabulary":
        """A vocabulary from whatever Python has at hand.

        Args:
            names: A string in the grammar of `parse`; or literal names; or for each label its
                query or queries, literally; or a vocabulary.
            has_background: Add the background class; a vocabulary that has it keeps it.

        Raises:
            VocabularyError: If there is no name, or one is empty, repeated, or too long.
        """
        if isinstance(names, Vocabulary):
            return names.with_background() if has_background else names
        if isinstance(names, str):
            return cls.parse(names, has_background=has_background)
        return _checked(_literal_entries(names, ""), has_background)

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
        parts = islice(_split(text, ","), MAX_LABELS + 1)
        entries = (_parsed(part, f"class name {i}") for i, part in enumerate(parts, 1))
        return _checked(entries, has_background)

    @classmethod
    def read(cls, path: str | Path, *, has_background: bool = False) -> "Vocabulary":
        """A vocabulary from a file.

        Args:
            path: A .txt file in UTF-8, one `label` or `label=query|query` a line, where blank
                lines and lines that begin with # are skipped and commas are ordinary; or a
                .json file with a list of literal names, or an object of label to query or queries.
                Of an object with a list under "classes", "names", "labels" or "categories", as
                classes.json of a dataset has it, that list is read; of one with the labels "0",
                "1", ... and one string each, the strings are the names.
            has_background: Add the background class.

        Raises:
            VocabularyError: If the file cannot be read, or its names are empty, repeated, too long
                or missing.
        """
        path = Path(path)
        shown = _shown(str(path), quoted=False)
        text = _text_of(path, shown)
        if path.suffix.lower() == ".json":
            return _checked(_json_entries(text, shown), has_background)
        return _checked(_line_entries(text, shown), has_background)

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
                    f"class name {position}, {_shown(label)}, is also what the rest class is "
                    "called: leave one of the two out"
                )
        return replace(self, has_background=True)

    def templated(self, template: str) -> tuple[str, ...]:
        """The queries, each put into a template.

        Args:
            template: For example "A photo of a {} in the scene".

        Raises:
            ConfigError: If the template does not hold {} exactly once.
        """
        if (count := template.count("{}")) != 1:
            raise ConfigError(
                f"template {_shown(template)} holds {{}} {count} times: "
                "write it once, where the class name goes"
            )
        before, after = template.split("{}")  # str.format would trip over braces in a name
        return tuple(f"{before}{query}{after}" for query in self.queries)


def _checked(entries: Iterable[_Entry], has_background: bool) -> Vocabulary:
    """The vocabulary of these entries, or the first fault among them."""
    labels: list[str] = []
    queries: list[str] = []
    owner: list[int] = []
    label_seen: dict[str, str] = {}  # comparable form to where it stands
    query_seen: dict[str, str] = {}
    for entry in islice(entries, MAX_LABELS + 1):
        label = _clean(entry.label, entry.where)
        where = f"{entry.where}, {_shown(label)}"
        if (first := label_seen.setdefault(_key(label), where)) is not where:
            raise VocabularyError(f"{where}, repeats {first}: leave one out")
        num_before = len(queries)
        for position, raw in enumerate(entry.queries, 1):
            # a label that is its own query is named once
            query = label if raw is entry.label else _clean(raw, f"{where}, query {position}")
            if (key := _key(query)) in query_seen:
                raise VocabularyError(
                    f"{where}, repeats the query {_shown(query)} of {query_seen[key]}: "
                    "leave one out"
                )
            query_seen[key] = where
            queries.append(query)
            owner.append(len(labels))
        if len(queries) == num_before:
            raise VocabularyError(f"{where}, has no query: give it a name to look for")
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


def _clean(name: object, where: str) -> str:
    """The name as it looks, with single spaces, in NFC; or an error that says where it stands."""
    if not isinstance(name, str):
        raise VocabularyError(f"{where} is of type {type(name).__name__}: class names are strings")
    name = name.translate(_REMOVED)
    # Only blanks collapse: a line break inside a name is more likely a lost separator.
    name = re.sub(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+", " ", name).strip()
    if len(name) > MAX_NAME_CHARACTERS:  # before NFC, whose time can grow with the square
        raise VocabularyError(
            f"{where}, {_shown(name)}, has {len(name):,} characters, "
            f"but at most {MAX_NAME_CHARACTERS:,} are read: shorten it"
        )
    name = unicodedata.normalize("NFC", name)
    if not name or not name.isprintable():
        _refuse_invisible(name, where)
    if (num_words := len(name.split())) > MAX_NAME_WORDS:
        raise VocabularyError(
            f"{where}, {_shown(name)}, has {num_words} words, "
            f"but at most {MAX_NAME_WORDS} are read: shorten it"
        )
    return name


def _refuse_invisible(name: str, where: str) -> None:
    categories = [unicodedata.category(character) for character in name]
    for character, category in zip(name, categories, strict=True):
        if category in _UNPRINTABLE:
            raise VocabularyError(
                f"{where}, {_shown(name)}, holds the unprintable character "
                f"U+{ord(character):04X}: remove it, or separate the names by commas"
            )
    if all(category in _INVISIBLE for category in categories):
        raise VocabularyError(f"{where} is empty: write a name or take the separator out")


def _key(name: str) -> str:
    """The form in which two names that look alike are equal."""
    if not name.isprintable():  # it holds joiners, which are seen only in what they join
        name = "".join(c for c in name if unicodedata.category(c) != "Cf" or ord(c) in _TAGS)
    return unicodedata.normalize("NFC", name.casefold())


def _shown(text: str, *, quoted: bool = True) -> str:
    """The text for a message: short, on one line, and printable on any terminal."""
    text = text.strip()
    if len(text) > _SHOWN_CHARACTERS and quoted:
        text = text[: _SHOWN_CHARACTERS - 1].rstrip() + "…"
    return repr(text) if quoted or not text.isprintable() else text


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that no backslash precedes; escapes stay in the parts."""
    start = position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1  # and the character after it, whatever it is
        elif text[position] == separator:
            yield text[start:position]
            start = position + 1
        position += 1
    yield text[start:]


def _unescaped(text: str) -> str:
    return re.sub(rf"\\([{re.escape(_SPECIAL)}])", r"\1", text)


def _parsed(text: str, where: str) -> _Entry:
    """The entry that `label` or `label=query|query` describes."""
    label, *rest = _split(text, "=")
    if len(rest) > 1:
        raise VocabularyError(
            rf"{where}, {_shown(text)}, has {len(rest)} signs '=': write \= for those in a name"
        )
    if not rest:
        if len(list(_split(text, "|"))) > 1:
            raise VocabularyError(
                f"{where}, {_shown(text)}, lists synonyms without a label: "
                rf"write label=one|two, or \| for a bar in a name"
            )
        name = _unescaped(text)
        return _Entry(where, name, [name])
    return _Entry(where, _unescaped(label), [_unescaped(part) for part in _split(rest[0], "|")])


def _literal_entries(names: object, of_file: str) -> Iterator[_Entry]:
    """Entries of a mapping or an iterable, whose strings are names as they stand."""
    if isinstance(names, Mapping):
        for position, (label, queries) in enumerate(names.items(), 1):
            where = f"class name {position}{of_file}"
            if isinstance(queries, str):
                queries = [queries]  # noqa: PLW2901 -- one query stands for a list of one
            elif isinstance(queries, Mapping | bytes) or not isinstance(queries, Iterable):
                raise VocabularyError(
                    f"{where}, {_shown(str(label))}, has queries of type "
                    f"{type(queries).__name__}: give it a string or a list of strings"
                )
            yield _Entry(where, label, queries)
    elif isinstance(names, Iterable) and not isinstance(names, bytes):
        for position, name in enumerate(names, 1):
            yield _Entry(f"class name {position}{of_file}", name, [name])
    else:
        raise VocabularyError(
            f"class names{of_file} are of type {type(names).__name__}: "
            "give a list of strings, or an object of label to queries"
        )


def _text_of(path: Path, shown: str) -> str:
    if path.suffix.lower() not in {".txt", ".json"}:
        raise VocabularyError(
            f"class names are read from .txt and .json files, not from {shown}: rename it"
        )
    return _LIST.text_of(path)


def _line_entries(text: str, shown: str) -> Iterator[_Entry]:
    lines = [line.translate(_REMOVED).strip() for line in re.split(r"\r\n|\r|\n", text)]
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not numbered:
        raise VocabularyError(f"{shown} holds no class names: write one a line")
    for number, line in numbered:
        yield _parsed(line, f"line {number} of {shown}")


def _json_entries(text: str, shown: str) -> Iterator[_Entry]:
    def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # A dictionary keeps the last of two equal labels and would hide the first.
        names: dict[str, object] = {}
        for name, value in pairs:
            if name in names:
                raise VocabularyError(f"{shown} has label {_shown(name)} twice: leave one out")
            names[name] = value
        return names

    try:
        names = json.loads(text, object_pairs_hook=object_of)
    except json.JSONDecodeError as error:
        raise VocabularyError(
            f"{shown} is not JSON ({error.msg} at line {error.lineno}): correct it there"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 10,000 brackets
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number too long"
        raise VocabularyError(f"{shown} is no list of class names ({reason})") from None
    if not isinstance(names, list | dict):
        raise VocabularyError(
            f"{shown} holds a JSON {type(names).__name__}, "
            "but class names are a list of strings, or an object of label to queries"
        )
    if isinstance(names, dict):
        names = _names_of(names, shown)
    if not names:
        raise VocabularyError(f"{shown} holds no class names: add some")
    return _literal_entries(names, f" of {shown}")


def _names_of(table: dict[str, object], shown: str) -> dict[str, object] | list[object]:
    """The list of names in an object of another use; else the object, labels with their queries."""
    if isinstance(datasets := table.get("datasets"), dict):
        if len(datasets) > 1:
            raise VocabularyError(
                f"{shown} has the class names of {len(datasets)} datasets "
                f"(the first is {_shown(next(iter(datasets)))}): "
                "copy the list 'classes' of one of them into a file of its own"
            )
        table = next((one for one in datasets.values() if isinstance(one, dict)), table)
    for key in _LIST_KEYS:
        if isinstance(names := table.get(key), list):
            # a label may be called like that, and have its synonyms in the list
            if (other := _other_list(table, key)) is not None:
                raise VocabularyError(
                    f"{shown} has a list under {_shown(key)} and one under {_shown(other)}: keep "
                    "the one with the class names, or write label=query|query into a .txt file"
                )
            return names
    if all(label.isdecimal() and isinstance(query, str) for label, query in table.items()):
        return _names_by_index(table, shown)
    return table


def _other_list(table: dict[str, object], key: str) -> str | None:
    """The first other label with a list of strings, which could be names or queries."""
    for label, value in table.items():
        if label != key and isinstance(value, list) and any(isinstance(v, str) for v in value):
            return label
    return None


def _names_by_index(table: dict[str, object], shown: str) -> list[object]:
    """The names of a map from index to name, as models come with."""
    names = [table.get(str(index)) for index in range(len(table))]
    if None in names:
        raise VocabularyError(
            f"{shown} has numbers as labels, but not those from 0 to {len(table) - 1}: number its "
            "names from 0, or put the query of a label that is a number into a list"
        )
    return names
