"""What the values in label maps mean, where that is declared and not the plain rule.

The plain rule: value i is class i of the list, 255 was labelled by nobody, and any other value is a
mistake. Other tools write 0 for "unlabelled" and begin with 1, leave an offset, or use ids of their
own; whoever has such label maps says so here, and need not rewrite them.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from escnet.data.label_table import NUM_VALUES, LabelTable
from escnet.errors import ConfigError, DatasetError
from escnet.files import display_path
from escnet.small_file import SmallFile

IGNORED = -1  # codes of values that are no class
BACKGROUND_LABEL = -2
UNKNOWN_LABEL = -3

ZERO_IS = Literal["first", "unlabelled", "background"]

_Value = Annotated[int, Field(ge=0, lt=NUM_VALUES)]
_ID_LINE = re.compile(r"(?P<value>\d+)(\s*[:,;=]\s*|\s+)(?P<name>\S.*)")
_ID_MAP = SmallFile(
    noun="id map", error=ConfigError, cure='write lines such as "7: road", or {"7": "road"}'
)
_REST_CODES = {  # what an id map calls pixels of no class
    **dict.fromkeys(("ignore", "ignored", "unlabelled", "unlabeled", "void"), IGNORED),
    "background": BACKGROUND_LABEL,
}


class Conventions(BaseModel):
    """How values of label maps become classes; stored in every result.

    Attributes:
        ignore: Values of pixels that count nowhere, besides the usual 255.
        zero_is: Whether 0 is the first class, or pixels that nobody labelled, or pixels of none of
            the classes; the names begin with 1 then, unless the list has a row for 0.
        offset: What the label maps add to a class's place in the list.
        ids: For each value its class name, "ignore" or "background".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ignore: tuple[_Value, ...] = ()
    zero_is: ZERO_IS | None = None
    offset: Annotated[int, Field(ge=0, lt=NUM_VALUES)] | None = None
    ids: dict[_Value, str] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is declared."""
        return self == Conventions()

    @classmethod
    def declared(cls, **values: Any) -> "Conventions":
        """The conventions of these values.

        Raises:
            ConfigError: If one is out of range, or contradicts another.
        """
        try:
            conventions = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = "-".join(str(part) for part in first["loc"][:1]).replace("_", "-")
            raise ConfigError(
                f"{name} is {first.get('input')!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
            ) from None
        if conventions.ids is not None and (conventions.zero_is or conventions.offset is not None):
            raise ConfigError(
                "an id map says what every value is, 0 and the first too: "
                "leave --zero-is and --offset out"
            )
        return conventions


def read_id_map(path: str | Path) -> dict[int, str]:
    """For each value its class name: a JSON object, or lines such as `7: road` or `7 road`.

    Raises:
        ConfigError: If the file cannot be read, or holds something else.
    """
    shown = f"id map {display_path(path)}"
    text = _ID_MAP.text_of(path)
    if text.lstrip().startswith("{"):
        table = _ID_MAP.parsed_json(text.encode(), shown)
    else:
        table = _id_lines(text, shown)
    names = {}
    for value, name in table.items():
        if not str(value).isdecimal() or not int(value) < NUM_VALUES or not isinstance(name, str):
            raise ConfigError(f"{shown} maps {value!r} to {name!r}: give a value and a name")
        names[int(value)] = name.strip()
    if not names:
        raise ConfigError(f'{shown} is empty: write lines such as "7: road"')
    return names


def _id_lines(text: str, shown: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    matches = [_ID_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        raise ConfigError(f'{shown} has a line without a value: write lines such as "7: road"')
    return {match["value"]: match["name"] for match in matches if match}


class Labelling:
    """The classes of label maps, and which of them each value is.

    Args:
        table: The list of names beside the label maps; None where an id map has the names.
        conventions: What is declared.
        usual: What 255, and other values that the layout knows, are where no class has them.
        said: How messages call the folders.

    Attributes:
        classes: The class names, without those whose value counts nowhere.
        codes: For each value its class, IGNORED, BACKGROUND_LABEL or UNKNOWN_LABEL.

    Raises:
        DatasetError: If the list and the conventions contradict each other.
    """

    def __init__(
        self,
        table: LabelTable | None,
        conventions: Conventions,
        usual: Mapping[int, int] | None = None,
        said: str = "the label maps",
    ) -> None:
        ids = conventions.ids
        if ids is not None:
            rows = _rows_of_ids(ids, table)
        elif table is not None:
            rows = _rows_with_values(table, conventions)
        else:
            raise DatasetError(
                f"{said}: there is no list of class names beside the label maps: put a classes.txt "
                "there, a name a line in the order of the labels, or give one with --classes-file"
            )
        codes = np.full(NUM_VALUES, UNKNOWN_LABEL)
        for value, code in (usual or {255: IGNORED}).items():
            codes[value] = code
        declared = _declared(conventions, table.names if table else ())
        kept: dict[str, list[int]] = {}
        for name, values in rows.items():
            if left := [value for value in values if value not in declared]:
                kept[name] = left
        for place, values in enumerate(kept.values()):
            codes[values] = place
        for value, code in declared.items():
            codes[value] = code
        if not kept:
            raise DatasetError(f"{table.shown if table else 'the id map'} leaves no class to score")
        self.classes = tuple(kept)
        self.codes: Int[np.ndarray, " 65536"] = codes

    @property
    def has_background(self) -> bool:
        """Whether some value is of none of the classes."""
        return bool((self.codes == BACKGROUND_LABEL).any())

    @property
    def is_plain(self) -> bool:
        """Whether each value is the class of that place."""
        return bool((self.codes[: len(self.classes)] == np.arange(len(self.classes))).all())

    def meanings(self, most: int) -> list[tuple[int, str]]:
        """What the first values mean, in words."""
        words = {IGNORED: "counts nowhere", BACKGROUND_LABEL: "is no class"}
        known = np.flatnonzero(self.codes != UNKNOWN_LABEL)[:most]
        codes = [int(self.codes[value]) for value in known]
        return [
            (int(value), words.get(code, f"is {self.classes[code]!r}" if code >= 0 else ""))
            for value, code in zip(known, codes, strict=True)
        ]


def _declared(conventions: Conventions, names: Collection[str]) -> dict[int, int]:
    """The values that are declared to be no class."""
    codes = dict.fromkeys(conventions.ignore, IGNORED)
    if conventions.zero_is == "unlabelled":
        codes[0] = IGNORED
    elif conventions.zero_is == "background":
        codes[0] = BACKGROUND_LABEL
    for value, name in (conventions.ids or {}).items():
        if name not in names and (code := _REST_CODES.get(name.casefold())) is not None:
            codes[value] = code
    return codes


def _rows_with_values(table: LabelTable, conventions: Conventions) -> dict[str, list[int]]:
    if table.has_labels:
        if conventions.offset is not None:
            raise DatasetError(
                f"{table.shown} gives each class its label: leave --offset {conventions.offset} out"
            )
        return {row.name: [row.label] for row in table.rows if row.label is not None}
    first = conventions.offset or 0
    if conventions.offset is None and conventions.zero_is in {"unlabelled", "background"}:
        first = 0 if table.rows[0].is_rest else 1
    if first + len(table.rows) > NUM_VALUES:
        raise DatasetError(f"{table.shown} has more classes than label maps can hold")
    return {row.name: [first + place] for place, row in enumerate(table.rows)}


def _rows_of_ids(ids: Mapping[int, str], table: LabelTable | None) -> dict[str, list[int]]:
    by_name: dict[str, list[int]] = {name: [] for name in (table.names if table else ())}
    for value, name in ids.items():
        if name not in by_name:
            if name.casefold() in _REST_CODES:
                continue
            if table is not None:
                raise DatasetError(
                    f"the id map gives {value} the name {name!r}, which {table.shown} lacks: "
                    'add it there, or write "ignore"'
                )
        by_name.setdefault(name, []).append(value)
    return {name: values for name, values in by_name.items() if values}
