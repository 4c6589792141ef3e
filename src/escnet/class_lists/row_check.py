"""The rows of one list, checked one after the other: every name clean, none of them twice."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from escnet.class_lists.class_list import ListedName, display_text
from escnet.class_lists.clean_name import clean_name, comparable
from escnet.class_lists.details import PLAIN, Group, LabelDetails
from escnet.errors import VocabularyError


class CheckedRow(NamedTuple):
    """A row whose names are clean.

    Attributes:
        label: What a result calls the class.
        queries: What the text tower reads.
        details: What a names file says besides.
    """

    label: str
    queries: tuple[str, ...]
    details: LabelDetails


class RowCheck:
    """What was named so far, by which later rows are judged."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}  # comparable form to where it stands
        self._queries: dict[str, str] = {}

    def checked(self, row: ListedName) -> CheckedRow:
        """The next row.

        Raises:
            VocabularyError: If a name is empty, too long, or repeats one of an earlier row.
        """
        label = clean_name(row.label, row.where)
        where = f"{row.where}, {display_text(label)}"
        if (first := self._labels.setdefault(comparable(label), where)) is not where:
            raise VocabularyError(f"{where}, repeats {first}: leave one out")
        queries = []
        for position, raw in enumerate(row.queries, 1):
            # a label that is its own query is named once
            query = label if raw is row.label else clean_name(raw, f"{where}, query {position}")
            if (key := comparable(query)) in self._queries:
                raise VocabularyError(
                    f"{where}, repeats the query {display_text(query)} of {self._queries[key]}: "
                    "leave one out"
                )
            self._queries[key] = where
            queries.append(query)
        if not queries:
            raise VocabularyError(f"{where}, has no query: give it a name to look for")
        return CheckedRow(label, tuple(queries), _clean_details(row.details, where))

    def check_contrast(self, rows: Iterable[CheckedRow]) -> None:
        """Make sure that nothing is asked for and excluded at once.

        Raises:
            VocabularyError: If a contrast query is some label's query.
        """
        for row in rows:
            for query in row.details.contrast:
                if (owner := self._queries.get(comparable(query))) is not None:
                    raise VocabularyError(
                        f"label {display_text(row.label)} is not {display_text(query)}, but that "
                        f"is a query of {owner}: take it out of one of the two"
                    )


def checked_groups(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Groups whose names are clean.

    Raises:
        VocabularyError: If one is empty, too long, or described twice.
    """
    checked: dict[str, Group] = {}
    for position, group in enumerate(groups, 1):
        name = clean_name(group.name, f"group {position}")
        if name in checked:
            raise VocabularyError(f"group {display_text(name)} is described twice: leave one out")
        outer = group.group and clean_name(group.group, f"the group of group {display_text(name)}")
        checked[name] = replace(group, name=name, group=outer)
    return tuple(checked.values())


def _clean_details(details: LabelDetails, where: str) -> LabelDetails:
    if details is PLAIN:
        return details
    contrast = (
        clean_name(raw, f"{where}, 'not' {position}")
        for position, raw in enumerate(details.contrast, 1)
    )
    return replace(
        details,
        group=details.group and clean_name(details.group, f"{where}, its group"),
        contrast=tuple(dict.fromkeys(contrast)),
    )
