"""TensorFlow's label maps, `item { id: 1 name: "cup" }`: protocol buffers as text."""

import re
from collections.abc import Mapping

from escnet.class_lists.class_list import ClassList, ListedName, by_number, tools_list
from escnet.errors import VocabularyError

_ITEM = re.compile(r"\s*item\s*:?\s*\{(?P<body>[^{}]{0,4000})\}[\s,;]*")
_FIELD = re.compile(
    r"\s*(?P<key>\w{1,40})\s*:\s*"
    r"(?:\"(?P<double>[^\"\n]*)\"|'(?P<single>[^'\n]*)'|(?P<number>-?\d{1,9}))[ \t,;]*"
)
_KIND = "TensorFlow's label map"


def is_pbtxt(text: str) -> bool:
    """Whether a text begins as a label map does."""
    return re.match(r"(?:\s*#[^\n]*\n)*\s*item\s*:?\s*\{", text) is not None


def read_pbtxt(text: str, shown: str) -> ClassList:
    """The class list in a label map; a `display_name` is the name, where there is one.

    Raises:
        VocabularyError: If an item is not closed or has no name.
    """
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    rows: list[ListedName] = []
    position = 0
    while text[position:].strip():
        item = _ITEM.match(text, position)
        fields = _fields(item["body"]) if item else {}
        name = fields.get("display_name") or fields.get("name")
        if item is None or name is None:
            raise VocabularyError(
                f"item {len(rows) + 1} of {shown}, {_KIND}, has no name that can be read: "
                'write it as item { id: 1 name: "cup" }'
            )
        number = int(fields["id"]) if "id" in fields else None
        rows.append(ListedName(f"item {len(rows) + 1} of {shown}", name, [name], number))
        position = item.end()
    rows, about_numbers = by_number(rows, shown)
    return tools_list(shown, _KIND, rows, about_numbers)


def _fields(body: str) -> Mapping[str, str]:
    return {
        match["key"]: next(value for value in match.groups()[1:] if value is not None)
        for match in _FIELD.finditer(body)
    }
