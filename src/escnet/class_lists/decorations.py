"""What people and programs put around names: bullets, separators at the ends of lines, quotes."""

import re
from collections.abc import Sequence

from escnet.class_lists.grammar import split

_BULLET = re.compile(r"(?:[-*•\u2013·+]\s+(?:\[[ xX]?\]\s+)?|[a-z]\)\s+)")
_AROUND = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "「": "」", "‘": "’", "`": "`"}  # noqa: RUF001
_AROUND |= {"**": "**"}


def without_decorations(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The lines without what every one has around its name, and what that was."""
    texts, removed = list(texts), []
    if len(texts) > 1 and all(_BULLET.match(text) for text in texts):
        texts = [_BULLET.sub("", text, count=1) for text in texts]
        removed.append("bullets")
    for separator in ",;.":
        # the last line often has none; but of one full stop it is part of the other name
        all_but = texts if separator == "." else texts[:-1]
        if len(texts) > 1 and all(_ends_with(text, separator) for text in all_but):
            texts = [t[:-1].rstrip() if _ends_with(t, separator) else t for t in texts]
            removed.append(f"{separator!r} at the ends of lines")
    bare = without_quotes(texts)
    return bare, [*removed, *(["quotes"] if bare != texts else [])]


def without_quotes(texts: Sequence[str]) -> list[str]:
    """The texts without the quotes, or the signs for bold letters or code, around each of them."""
    for first, last in _AROUND.items():
        if all(_is_between(text, first, last) for text in texts):
            return [text[len(first) : -len(last)] for text in texts]
    return list(texts)


def _is_between(text: str, first: str, last: str) -> bool:
    inside = text[len(first) : -len(last)]
    return bool(inside) and text == first + inside + last and last not in inside


def _ends_with(text: str, separator: str) -> bool:
    """Whether the separator is the last character, without a backslash."""
    return text.endswith(separator) and not list(split(text, separator))[-1]
