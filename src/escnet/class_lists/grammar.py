r"""The project's own grammar of one class name: `label` or `label=query|query`.

A backslash takes the meaning from the character after it, if that is one of those with a meaning,
`, ; : . = | # \`, or one by which a list is recognised, `{ [ ( < " ' - *`; before any other
character it is an ordinary backslash.
"""

import re
from collections.abc import Iterator

from escnet.class_lists.class_list import ListedName, display_text
from escnet.errors import VocabularyError

_SPECIAL = ",;:.=|#\\{[(<\"'-*"


def split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that no backslash precedes; escapes stay in the parts."""
    if separator not in text:
        yield text
        return
    start = position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1  # and the character after it, whatever it is
        elif text[position] == separator:
            yield text[start:position]
            start = position + 1
        position += 1
    yield text[start:]


def has(text: str, separator: str) -> bool:
    """Whether the separator is there without a backslash."""
    return separator in text and len(list(split(text, separator))) > 1


def unescaped(text: str) -> str:
    """The text without the backslashes that the grammar asks for."""
    return text if "\\" not in text else re.sub(rf"\\([{re.escape(_SPECIAL)}])", r"\1", text)


def parsed(text: str, where: str) -> ListedName:
    """The row that `label` or `label=query|query` describes.

    Raises:
        VocabularyError: If it has two signs "=", or synonyms without a label.
    """
    label, *rest = split(text, "=")
    if len(rest) > 1:
        raise VocabularyError(
            rf"{where}, {display_text(text)}, has {len(rest)} signs '=': write \= for those in a "
            "name"
        )
    if not rest:
        if has(text, "|"):
            raise VocabularyError(
                f"{where}, {display_text(text)}, lists synonyms without a label: "
                rf"write label=one|two, or \| for a bar in a name"
            )
        name = unescaped(text)
        return ListedName(where, name, [name])
    return ListedName(where, unescaped(label), [unescaped(part) for part in split(rest[0], "|")])
