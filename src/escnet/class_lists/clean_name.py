"""A class name as it looks: what nobody sees is taken out, what cannot be shown is refused."""

import re
import unicodedata

from escnet.class_lists.class_list import display_text
from escnet.class_lists.lines import REMOVED
from escnet.errors import VocabularyError

MAX_NAME_WORDS = 64  # the longest name a text tower reads without cutting it
MAX_NAME_CHARACTERS = 1_000

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control, lone surrogate, line and paragraph separator
_INVISIBLE = {"Cf", "Zs"}  # joiners belong to many scripts, but a name needs something besides
_TAGS = range(0xE0020, 0xE0080)  # all that tells the flags of England and Scotland apart


def clean_name(name: object, where: str) -> str:
    """The name with single spaces, in NFC.

    Args:
        name: As somebody wrote it.
        where: How an error calls it.

    Raises:
        VocabularyError: If it is no string, empty, too long, or not printable.
    """
    if not isinstance(name, str):
        raise VocabularyError(f"{where} is of type {type(name).__name__}: class names are strings")
    name = name.translate(REMOVED)
    # Only blanks collapse: a line break inside a name is more likely a lost separator.
    name = re.sub(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+", " ", name).strip()
    if len(name) > MAX_NAME_CHARACTERS:  # before NFC, whose time can grow with the square
        raise VocabularyError(
            f"{where}, {display_text(name)}, has {len(name):,} characters, "
            f"but at most {MAX_NAME_CHARACTERS:,} are read: shorten it"
        )
    name = unicodedata.normalize("NFC", name)
    if not name or not name.isprintable():
        _refuse_invisible(name, where)
    if (num_words := len(name.split())) > MAX_NAME_WORDS:
        raise VocabularyError(
            f"{where}, {display_text(name)}, has {num_words} words, "
            f"but at most {MAX_NAME_WORDS} are read: shorten it"
        )
    return name


def comparable(name: str) -> str:
    """The form in which two names that look alike are equal."""
    if not name.isprintable():  # it holds joiners, which are seen only in what they join
        name = "".join(c for c in name if unicodedata.category(c) != "Cf" or ord(c) in _TAGS)
    name = without_underscores(name) if "_" in name else name
    return unicodedata.normalize("NFC", name.casefold())


def without_underscores(query: str) -> str:
    """The query as the text tower reads it."""
    return " ".join(query.replace("_", " ").split()) or query


def _refuse_invisible(name: str, where: str) -> None:
    categories = [unicodedata.category(character) for character in name]
    for character, category in zip(name, categories, strict=True):
        if category in _UNPRINTABLE:
            raise VocabularyError(
                f"{where}, {display_text(name)}, holds the unprintable character "
                f"U+{ord(character):04X}: remove it, or separate the names by commas"
            )
    if all(category in _INVISIBLE for category in categories):
        raise VocabularyError(f"{where} is empty: write a name or take the separator out")
