"""The names file, names.toml: docs/reference/names-file.md has its grammar.

A file comes from anywhere: what it may hold is checked by key and by size as it is read, and names
are checked like those of any list, by `Vocabulary.of`.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from escnet.class_lists.class_list import ClassList, ListedName, display_text
from escnet.class_lists.details import (
    MOST_VECTORS,
    Color,
    Group,
    LabelDetails,
    TaughtVectors,
    check_vectors,
)
from escnet.class_lists.file import LIST_FILE
from escnet.class_lists.values import color_of
from escnet.errors import VocabularyError, first_line

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(?:labels?|groups?|names)[ \t]*\]\]", re.MULTILINE)
_FORMAT = 1  # a file to be read otherwise has a higher number
_MOST_STRINGS = 500_000
_MOST_MODELS = 16  # that one label was taught for
_SHOWN_VALUE = 60  # characters

_Text = Annotated[str, Field(max_length=2_000)]


class _Taught(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    weights: Annotated[str, Field(min_length=1, max_length=200)]
    model: _Text = ""
    instead_of_text: bool = False
    source: Annotated[list[_Text], Field(alias="from", max_length=1_000)] = []
    vectors: Annotated[list[str], Field(max_length=MOST_VECTORS)]


class _Label(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    queries: list[str] = []
    description: _Text = ""
    color: _Text = ""
    group: str = ""
    contrast: Annotated[list[str], Field(alias="not")] = []
    void_below: Annotated[float, Field(ge=0, le=1)] = 0.0
    taught: Annotated[list[_Taught], Field(max_length=_MOST_MODELS)] = []


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    group: str = ""
    color: _Text = ""
    description: _Text = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: int = _FORMAT
    groups: list[_Group] = []
    labels: list[_Label]


def is_names_file(text: str) -> bool:
    """Whether a text has the tables of a names file."""
    return _HEADER.search(text) is not None


def read_names_file(text: str, shown: str) -> ClassList:
    """The labels and groups of a names file.

    Args:
        text: What the file holds.
        shown: How messages call it.

    Raises:
        VocabularyError: If it is no TOML, has a key that is not known, or a value that cannot be.
    """
    if text.count('"') + text.count("'") > 2 * _MOST_STRINGS:  # parsing them would take minutes
        raise VocabularyError(
            f"{shown} holds more than {_MOST_STRINGS:,} strings, the most that are read: split it"
        )
    table = LIST_FILE.parsed_toml(text, shown)
    number = table.get("format", _FORMAT)
    if number != _FORMAT:
        raise VocabularyError(
            f"{shown} has the format {number!r:.40}, and this version reads {_FORMAT}: "
            "install the version that wrote it"
        )
    try:
        content = _File.model_validate(table)
    except ValidationError as error:
        raise VocabularyError(f"{shown}: {_first_fault(error, table)}") from None
    rows = tuple(
        _row(label, f"class name {position} of {shown}")
        for position, label in enumerate(content.labels, 1)
    )
    if not rows:
        raise VocabularyError(f"{shown} holds no class names: add [[labels]] with a name")
    groups = tuple(
        Group(
            name=group.name,
            group=group.group,
            color=_color(group.color, f"group {display_text(group.name)} of {shown}"),
            description=group.description,
        )
        for group in content.groups
    )
    return ClassList(shown, "a names file", rows, groups=groups)


def names_file(
    queries_by_label: Mapping[str, Sequence[str]],
    details: Sequence[LabelDetails],
    groups: Sequence[Group],
) -> bytes:
    """The content of a names file.

    Args:
        queries_by_label: The queries of each label, in label order.
        details: Of each label.
        groups: What is said of groups.
    """
    blocks = [f"format = {_FORMAT}\n"]
    blocks += [
        _table(
            "groups",
            name=group.name,
            group=group.group,
            color=_hex(group.color),
            description=group.description,
        )
        for group in groups
    ]
    for (label, queries), own in zip(queries_by_label.items(), details, strict=True):
        blocks += _label_tables(label, queries, own)
    return "\n".join(blocks).encode("utf-8")


def _row(label: _Label, where: str) -> ListedName:
    named = f"{where}, {display_text(label.name)}"
    color = _color(label.color, named)
    details = LabelDetails(
        description=label.description,
        color=color,
        group=label.group,
        contrast=tuple(label.contrast),
        void_below=label.void_below,
        taught=tuple(_taught(one, named) for one in label.taught),
    )
    hashes = [one.weights_hash for one in details.taught]
    if len(set(hashes)) < len(hashes):
        raise VocabularyError(f"{named}, is taught twice for the same weights: leave one out")
    return ListedName(where, label.name, label.queries or [label.name], None, color, details)


def _taught(taught: _Taught, where: str) -> TaughtVectors:
    vectors = []
    for position, text in enumerate(taught.vectors, 1):
        try:
            vectors.append(base64.b64decode("".join(text.split()), validate=True))
        except ValueError as error:
            raise VocabularyError(
                f"{where}, has a taught vector {position} that is not base64 "
                f"({first_line(error).lower()}): teach it again"
            ) from None
    check_vectors(vectors, f"{where}, taught vectors")
    return TaughtVectors(
        weights_hash=taught.weights,
        vectors=tuple(vectors),
        model=taught.model,
        replaces_text=taught.instead_of_text,
        source=tuple(taught.source),
    )


def _color(text: str, where: str) -> Color | None:
    if not text:
        return None
    if (color := color_of(text)) is None:
        raise VocabularyError(
            f"{where}, has the color {display_text(text)}, which is none: write it as '#4f8ff7'"
        )
    return color


def _label_tables(label: str, queries: Sequence[str], details: LabelDetails) -> list[str]:
    about = {
        "name": label,
        "queries": [] if tuple(queries) == (label,) else list(queries),
        "description": details.description,
        "color": _hex(details.color),
        "group": details.group,
        "not": list(details.contrast),
        "void_below": details.void_below,
    }
    taught = [
        {
            "weights": one.weights_hash,
            "model": one.model,
            "instead_of_text": one.replaces_text,
            "from": list(one.source),
            "vectors": [base64.b64encode(vector).decode("ascii") for vector in one.vectors],
        }
        for one in details.taught
    ]
    return [_table("labels", **about), *(_table("labels.taught", **one) for one in taught)]


def _table(header: str, **values: object) -> str:
    """One table of an array of them, without what is empty."""
    return f"[[{header}]]\n{tomli_w.dumps({key: one for key, one in values.items() if one})}"


def _hex(color: Color | None) -> str:
    return "" if color is None else f"#{bytes(color).hex()}"


def _first_fault(error: ValidationError, table: Mapping[str, Any]) -> str:
    """The first thing that is wrong, by its key and the label's name, and what may stand there."""
    problems = error.errors(include_url=False)
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    *path, key = first["loc"]
    where = _place(path, table)
    if first["type"] == "extra_forbidden":
        kind = {0: _File, 2: _Group if path[:1] == ["groups"] else _Label}.get(len(path), _Taught)
        known = [field.alias or name for name, field in kind.model_fields.items()]
        return f"{where}no key {display_text(str(key))}: choose from {', '.join(known)}"
    if first["type"] == "missing":
        return f"{where}{key} is missing: give it"
    rule = first_line(ValueError(first["msg"]))
    value = repr(first["input"])
    value = value if len(value) <= _SHOWN_VALUE else f"{value[:_SHOWN_VALUE]}…"
    return f"{where}{key} is {value}: {rule[:1].lower()}{rule[1:]}"


def _place(path: Sequence[int | str], table: Mapping[str, Any]) -> str:
    """How a message calls a place: by the label's or the group's name, if it has one."""
    if len(path) < 2 or not isinstance(path[1], int):
        return "".join(f"{part} " for part in path)
    noun = {"labels": "label", "groups": "group"}.get(str(path[0]), str(path[0]))
    row = table[str(path[0])][path[1]]
    name = row.get("name") if isinstance(row, dict) else None
    called = display_text(name) if isinstance(name, str) and name else str(path[1] + 1)
    return f"{noun} {called}, " + "".join(f"{part} " for part in path[2:])
