"""Glued words in class names, which a text tower makes nothing of, told apart by known words.

Lists of class names glue words together ("diningtable", "tvmonitor"). With a list of known words at
hand, a word that is not among them but is two of them in a row is those two.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from escnet.weights.tokenizer_files import TOKENIZER_FILES

WORDS_FILE = "words.txt"  # one known word a line

_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST_PART = 2  # "tv"


def read_words(path: Path) -> frozenset[str] | None:
    """The known words, None where there is no list of them.

    Raises:
        WeightsError: If the list cannot be read.
    """
    return frozenset(TOKENIZER_FILES.text_of(path).split()) if os.path.lexists(path) else None


def split_glued(text: str, words: frozenset[str]) -> str:
    """The text with every unknown word that is two known ones in a row split in two.

    Of several ways the most even one is taken.

    Args:
        text: A class name in its template.
        words: Known words in lower case.
    """

    def split(match: re.Match[str]) -> str:
        word = match.group()
        lower = word.lower()
        if lower in words or len(lower) != len(word):  # of the latter no place is the same
            return word
        places = [
            place
            for place in range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
            if lower[:place] in words and lower[place:] in words
        ]
        if not places:
            return word
        place = max(places, key=lambda place: min(place, len(word) - place))
        return f"{word[:place]} {word[place:]}"

    return _WORD.sub(split, text)


def words_of(names: Sequence[str]) -> list[str]:
    """The words that occur in some names, in lower case and alphabetical order."""
    words = {word.lower() for name in names for word in _WORD.findall(name)}
    return sorted(word for word in words if len(word) >= _SHORTEST_PART)
