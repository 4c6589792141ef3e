r"""The project's own grammar of one class name: `label` or `label=query|query`.

A backslash takes the meaning from the character after it, if that is one of those with a meaning,
`, ; : . = | # \`, or one by which a list is recognised, ``{ [ ( < " ' ` - *``; before any other
character it is an ordinary backslash.
"""

import re
from collections.abc import Iterator

from escnet.class_lists.class_list import ListedName, display_text
from escnet.errors import VocabularyError

_SPECIAL = ",;:.=|#\\{[(<\"'`-*"
# The same marks in other scripts: Chinese and Japanese, and Arabic.
_SAME = {",": ",，、،", ";": ";；؛", ":": ":："}  # noqa: RUF001

_SENTENCES = re.compile(r"(?<!\\)\.(?:\s+|$)")
_ABBREVIATION = re.compile(r"(?:^|\s)[A-Z][\w.]{0,3}$")
_ESCAPABLE = re.escape(_SPECIAL + "".join(_SAME.values()))


def split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that no backslash precedes; escapes stay in the parts.

    A comma, a semicolon and a colon are those of any script.
    """
    separators = _SAME.get(separator, separator)
    if not any(mark in text for mark in separators):
        yield text
        return
    start = position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1  # and the character after it, whatever it is
        elif text[position] in separators:
            yield text[start:position]
            start = position + 1
        position += 1
    yield text[start:]


def has(text: str, separator: str) -> bool:
    """Whether the separator is there without a backslash."""
    return len(list(split(text, separator))) > 1


def sentences(text: str) -> list[str]:
    """The parts of "cup. table. spoon" or "cup . table", as grounding models are prompted.

    "St. Bernard" is one: its full stop is an abbreviation's.
    """
    parts = [part.strip() for part in _SENTENCES.split(text.strip())]
    if len(parts) > 1 and not parts[-1]:
        return parts[:-1]
    is_abbreviation = len(parts) == 2 and " . " not in text and _ABBREVIATION.search(parts[0])
    return [text] if is_abbreviation else parts


def unescaped(text: str) -> str:
    """The text without the backslashes that the grammar asks for."""
    return text if "\\" not in text else re.sub(rf"\\([{_ESCAPABLE}])", r"\1", text)


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
