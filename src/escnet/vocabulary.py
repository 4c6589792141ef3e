"""Class names at the door: from a command line, a file, or Python, into one checked list.

A label is what a result calls a class; its queries are the names the text tower reads. Most labels
are their own only query; `car=car|truck|van` gives one label three.

`class_lists/grammar.py` has the grammar of `Vocabulary.parse`; `class_lists/` reads the files.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from escnet.class_lists.class_list import ClassList, ListedName, counted, display_text
from escnet.class_lists.clean_name import comparable, without_underscores
from escnet.class_lists.data import literal_rows
from escnet.class_lists.details import PLAIN, Color, Group, LabelDetails
from escnet.class_lists.file import read_text
from escnet.class_lists.grammar import parsed, sentences, split
from escnet.class_lists.groups import Level, level_of, paths_of
from escnet.class_lists.names_file import is_names_file, names_file
from escnet.class_lists.read import read_class_list
from escnet.class_lists.row_check import CheckedRow, RowCheck, checked_groups
from escnet.errors import ConfigError, OutputError, VocabularyError
from escnet.files import display_path, is_foreign, replace_file

MAX_LABELS = 65_534  # a 16-bit label map holds these, one more for background, and 65535 for void
MAX_QUERIES = 100_000  # of all labels, contrast queries among them: their embeddings fit in memory
BACKGROUND = "background"

_FILE = re.compile(r"@.+|.+\.(?:txt|json|toml|ya?ml|xml|csv|names)", re.IGNORECASE)


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
        details: What a names file says of each label besides; empty if nothing of any.
        groups: What a names file says of groups.
    """

    labels: tuple[str, ...]
    queries: tuple[str, ...]
    owner: tuple[int, ...]
    has_background: bool = False
    details: tuple[LabelDetails, ...] = ()
    groups: tuple[Group, ...] = ()

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
            rows = names.without_rest if has_background else names.names
            return _checked(rows, names.groups, has_background)
        if isinstance(names, Path):
            raise VocabularyError(
                f"class names are the path {display_text(str(names))}: read it by Vocabulary.read"
            )
        if isinstance(names, str):
            return cls.parse(names, has_background=has_background)
        return _checked(literal_rows(names, ""), (), has_background)

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
        return _checked(entries, (), has_background)

    @classmethod
    def read(cls, path: str | Path, *, has_background: bool = False) -> "Vocabulary":
        """A vocabulary from a file.

        Args:
            path: A class list of a kind that docs/reference/class-lists.md has, recognised by its
                content: one `label` or `label=query|query` a line, a names file, a JSON list or
                object, or what a tool wrote. `read_class_list` tells which kind it was and what was
                left out of it.
            has_background: Add the background class.

        Raises:
            VocabularyError: If the file cannot be read or has two readings, or its names are empty,
                repeated, too long or missing.
        """
        return cls.of(read_class_list(path), has_background=has_background)

    def save(self, path: str | Path) -> None:
        """Write the names, and all that is said of them, as a names file.

        The background class is no part of it, nor are comments of a file that was read.

        Args:
            path: The file; a names file that is there is replaced.

        Raises:
            OutputError: If it cannot be written, or something else would be replaced.
        """
        self.check_saveable(path)
        replace_file(path, self.to_toml())

    @staticmethod
    def check_saveable(path: str | Path) -> None:
        """Refuse a path at which `save` would replace something else than a names file.

        Raises:
            OutputError: If there is something else.
        """
        if is_foreign(path) and not _is_names_file(Path(path)):
            raise OutputError(
                f"{display_path(path)} is no names file and would be replaced: choose another name"
            )

    def to_toml(self) -> bytes:
        """The content of a names file."""
        details = self.details or (PLAIN,) * len(self)
        return names_file(self.queries_by_label, details, self.groups)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """From the outermost group to the label, for each label.

        Raises:
            VocabularyError: If groups are in a circle, or one is called like a label outside of it.
        """
        groups = [one.group for one in self.details] or [""] * len(self)
        return paths_of(self.labels, groups, {one.name: one.group for one in self.groups})

    @property
    def result_paths(self) -> tuple[tuple[str, ...], ...]:
        """The same for each name of a result; empty if there are no groups."""
        paths = self.paths if any(one.group for one in self.details) else []
        return (*paths, (BACKGROUND,)) if paths and self.has_background else tuple(paths)

    def level(self, level: int) -> Level:
        """The labels as they are called at a level: 1 for the outermost groups, and so on.

        Raises:
            ConfigError: If there is no such level.
        """
        return level_of(self.paths, level)

    @property
    def colours(self) -> dict[str, Color]:
        """The colours that a names file gives to labels and groups."""
        of_names = [(group.name, group.color) for group in self.groups]
        own = zip(self.labels, self.details, strict=False)
        of_names += [(label, details.color) for label, details in own]
        return {name: color for name, color in of_names if color is not None}

    @property
    def contrast(self) -> tuple[str, ...]:
        """What labels are not: queries that take pixels and give none."""
        return tuple(dict.fromkeys(query for one in self.details for query in one.contrast))

    @property
    def void_below(self) -> tuple[float, ...]:
        """The labels' own least confidences; empty if none has one."""
        own = tuple(one.void_below for one in self.details)
        return own if any(own) else ()

    def details_of(self, label: str) -> LabelDetails:
        """What a names file says of a label besides its queries.

        Raises:
            VocabularyError: If there is no such label.
        """
        index = self._index(label)
        return self.details[index] if self.details else PLAIN

    def with_details(self, label: str, details: LabelDetails) -> "Vocabulary":
        """The same names with something else said of a label, such as what it was taught.

        Raises:
            VocabularyError: If there is no such label, or what is said cannot be.
        """
        index = self._index(label)
        everyone = list(self.details or (PLAIN,) * len(self))
        everyone[index] = details
        return self._checked_with(self.queries_by_label, everyone)

    def with_label(self, label: str, queries: Iterable[str] = ()) -> "Vocabulary":
        """The same names and one more label at the end, its own query if none is given.

        Raises:
            VocabularyError: If it is there already, or cannot be.
        """
        if label in self.labels:
            raise VocabularyError(f"label {display_text(label)} is there already: leave one out")
        asked = tuple(queries) or (label,)
        everyone = self.details or (PLAIN,) * len(self)
        return self._checked_with({**self.queries_by_label, label: asked}, [*everyone, PLAIN])

    def _checked_with(
        self, queries_by_label: Mapping[str, Sequence[str]], details: Sequence[LabelDetails]
    ) -> "Vocabulary":
        rows = [
            ListedName(f"class name {position}", label, queries, details=own)
            for position, ((label, queries), own) in enumerate(
                zip(queries_by_label.items(), details, strict=True), 1
            )
        ]
        return _checked(rows, self.groups, self.has_background)

    def _index(self, label: str) -> int:
        if label not in self.labels:
            known = ", ".join(self.labels[:20]) + (", ..." if len(self) > 20 else "")
            raise VocabularyError(f"no label {display_text(label)}: choose from {known}")
        return self.labels.index(label)

    @property
    def result_names(self) -> tuple[str, ...]:
        """The name of each index of a result: the labels, then the background if there is one."""
        return (*self.labels, BACKGROUND) if self.has_background else self.labels

    def names_at(self, level: int) -> tuple[str, ...]:
        """The name of each index of a result at a level; 0 for the labels themselves.

        Raises:
            ConfigError: If there is no such level.
        """
        if level == 0:
            return self.result_names
        return (*self.level(level).names, *self.result_names[len(self) :])

    def with_background(self) -> "Vocabulary":
        """The same names and the background class.

        Raises:
            VocabularyError: If a label is called like it.
        """
        groups = {group: "group" for path in self.paths for group in path[:-1]}
        for position, label in enumerate((*self.labels, *groups), 1):
            if comparable(label) == BACKGROUND:
                noun = groups.get(label) or f"class name {position},"
                raise VocabularyError(
                    f"{noun} {display_text(label)}, is also what the rest class is "
                    "called: leave one of the two out"
                )
        return replace(self, has_background=True)

    def templated(self, template: str, queries: Iterable[str] | None = None) -> tuple[str, ...]:
        """Queries, each put into a template; underscores are spaces to the text tower.

        Args:
            template: For example "A photo of a {} in the scene".
            queries: Which; None for those of all labels.

        Raises:
            ConfigError: If the template does not hold {} exactly once.
        """
        if (count := template.count("{}")) != 1:
            raise ConfigError(
                f"template {display_text(template)} holds {{}} {count} times: "
                "write it once, where the class name goes"
            )
        before, after = template.split("{}")  # str.format would trip over braces in a name
        asked = self.queries if queries is None else queries
        spaced = (without_underscores(q) if "_" in q else q for q in asked)
        return tuple(f"{before}{query}{after}" for query in spaced)


def vocabulary_and_faults(
    class_list: ClassList,
) -> tuple[Vocabulary | None, list[VocabularyError]]:
    """The vocabulary of the rows without fault, None if there are none, and all faults."""
    faults: list[VocabularyError] = []
    try:
        return _checked(class_list.names, class_list.groups, False, faults.append), faults
    except VocabularyError as error:
        return None, [*faults, error]


def _raise(error: VocabularyError) -> None:
    raise error


def _checked(
    entries: Iterable[ListedName],
    groups: Iterable[Group],
    has_background: bool,
    on_fault: Callable[[VocabularyError], None] = _raise,
) -> Vocabulary:
    """The vocabulary of these entries; an entry with a fault is told and left out."""
    rows: list[CheckedRow] = []
    check = RowCheck()
    num_queries = 0
    for entry in islice(entries, MAX_LABELS + 1):
        num_queries += len(entry.queries) + len(entry.details.contrast)
        if num_queries > MAX_QUERIES:
            raise VocabularyError(
                f"there are more than {MAX_QUERIES:,} queries, the most that are read: split them "
                "over several runs"
            )
        try:
            rows.append(check.checked(entry))
        except VocabularyError as error:
            on_fault(error)
    if not rows:
        raise VocabularyError("no class names given: write for example 'road, sky'")
    if len(rows) > MAX_LABELS:
        raise VocabularyError(
            f"there are more than {MAX_LABELS:,} class names, the most a 16-bit label map holds: "
            "split them over several runs"
        )
    check.check_contrast(rows)
    details = tuple(row.details for row in rows)
    vocabulary = Vocabulary(
        labels=tuple(row.label for row in rows),
        queries=tuple(query for row in rows for query in row.queries),
        owner=tuple(index for index, row in enumerate(rows) for _ in row.queries),
        details=details if any(one != PLAIN for one in details) else (),
        groups=checked_groups(groups),
    )
    if vocabulary.details or vocabulary.groups:
        _ = vocabulary.paths  # refuses groups in a circle
    return vocabulary.with_background() if has_background else vocabulary


def _is_names_file(path: Path) -> bool:
    try:
        return is_names_file(read_text(path))
    except VocabularyError:
        return False


def _refuse_two_readings(text: str) -> None:
    """Refuse a lone name that is a file's, or several names with other separators than commas."""
    if _FILE.fullmatch(text):
        raise VocabularyError(
            f"class name {display_text(text)} looks like a file: give it as --classes-file, "
            "in Python to Vocabulary.read"
        )
    for separator, parts in {
        "semicolons": list(split(text, ";")),
        "full stops": sentences(text),
    }.items():
        if len(parts) > 1:
            raise VocabularyError(
                f"class names {display_text(text)} could be {counted(len(parts))} between "
                f"{separator} or one: put commas between names, or a backslash before what "
                "belongs to the name"
            )
