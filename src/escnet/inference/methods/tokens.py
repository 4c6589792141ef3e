"""Class names to tokens, by the tokenizer that lies beside the weights.

Lists of class names glue words together ("diningtable", "tvmonitor"), of which a sentence encoder
makes nothing. Where a list of known words lies beside the tokenizer, a word that is not among them
but is two of them in a row is read as those two.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from escnet.errors import VocabularyError, WeightsError, first_line
from escnet.small_file import SmallFile

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_SETTINGS_FILE = "tokenizer_config.json"  # transformers'
WORDS_FILE = "words.txt"  # one known word a line

TOKENIZER_FILES = SmallFile(noun="", error=WeightsError, cure="copy it again")
_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST_PART = 2  # "tv"
_SIGLIP_TOKENS = 64
_SHOWN_CHARACTERS = 40
_USUAL_PADDING = ("<|endoftext|>", "[PAD]", "<pad>")  # CLIP's, BERT's, Gemma's
_SIGLIP_PADDING = ("</s>", "<pad>")  # SigLIP's, which has a <pad> and does not use it; SigLIP 2's


class Tokens(NamedTuple):
    """Padded token indices of some texts, and where they are not padding."""

    token: Int[Tensor, "N T"]
    is_token: Int[Tensor, "N T"]


Tokenize = Callable[[Sequence[str]], Tokens]


def load_tokenizer(
    folder: Path,
    most_tokens: int,
    padded_to: int | None = None,
    usual_padding: Sequence[str] = _USUAL_PADDING,
) -> Tokenize:
    """A function from texts to tokens.

    Args:
        folder: Holds tokenizer.json, and words.txt if glued words are to be split.
        most_tokens: What the text tower reads at most.
        padded_to: Pad every text to this many tokens; None pads to the longest of a call.
        usual_padding: Tokens of which the first that there is pads, where the folder names none.

    Raises:
        WeightsError: If there is no tokenizer in the folder, or it is damaged.
    """
    tokenizer = _read_tokenizer(folder)
    words = read_words(folder / WORDS_FILE)
    tokenizer.no_truncation()  # a cut name would silently be another name
    tokenizer.enable_padding(length=padded_to, **_padding_of(tokenizer, folder, usual_padding))

    def tokenize(texts: Sequence[str]) -> Tokens:
        read = texts if words is None else [split_glued(text, words) for text in texts]
        encoded = tokenizer.encode_batch(list(read))
        for text, one in zip(texts, encoded, strict=True):
            if (count := sum(one.attention_mask)) > most_tokens:
                raise _too_long(text, count, most_tokens)
        return Tokens(
            torch.tensor([one.ids for one in encoded]),
            torch.tensor([one.attention_mask for one in encoded]),
        )

    return tokenize


def _too_long(text: str, num_tokens: int, most_tokens: int) -> VocabularyError:
    """The error for a text, which is a class name in its template."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return VocabularyError(
        f"text {shown!r} has {num_tokens} tokens, but the text tower reads {most_tokens}: "
        "shorten the class name in it"
    )


def load_tower_tokenizer(folder: Path, text: str, most_tokens: int) -> Tokenize:
    """As `load_tokenizer`, the way a kind of text tower wants it.

    SigLIP has no mask for its padding and reads the last place, so the padding is part of the text.

    Args:
        folder: Of the tokenizer.
        text: The kind of text tower; "siglip" was trained on texts filled up to 64 tokens.
        most_tokens: How many the tower has positions for.
    """
    if text != "siglip":
        return load_tokenizer(folder, most_tokens)
    most_tokens = min(most_tokens, _SIGLIP_TOKENS)
    return load_tokenizer(folder, most_tokens, padded_to=most_tokens, usual_padding=_SIGLIP_PADDING)


def _read_tokenizer(folder: Path) -> Tokenizer:
    path = folder / TOKENIZER_FILE
    if not os.path.lexists(path):
        raise WeightsError(
            f"no {TOKENIZER_FILE} in {folder}: copy it from where the text tower comes from"
        )
    content = TOKENIZER_FILES.bytes_of(path)
    try:
        return Tokenizer.from_buffer(content)
    except ValueError as error:
        raise WeightsError(
            f"{path} is no tokenizer ({first_line(error)}): copy it again"
        ) from error


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
    found = {word.lower() for name in names for word in _WORD.findall(name)}
    return sorted(word for word in found if len(word) >= _SHORTEST_PART)


def _padding_of(tokenizer: Tokenizer, folder: Path, usual: Sequence[str]) -> dict[str, object]:
    """The padding token that the folder names, as transformers reads it, or a usual one."""
    named = _named_padding(folder / TOKENIZER_SETTINGS_FILE)
    if named is None and (own := tokenizer.padding):
        return {"pad_id": own["pad_id"], "pad_token": own["pad_token"]}
    for token in usual if named is None else (named, *usual):
        if (index := tokenizer.token_to_id(token)) is not None:
            return {"pad_id": index, "pad_token": token}
    return {}


def _named_padding(path: Path) -> str | None:
    """The padding token in transformers' settings of a tokenizer; None where they name none."""
    if not os.path.lexists(path):
        return None
    token = TOKENIZER_FILES.object_of(path).get("pad_token")
    if isinstance(token, dict):  # with its properties
        token = token.get("content")
    return token if isinstance(token, str) else None


def byte_tokenizer(begin: int, end: int, most_tokens: int) -> Tokenize:
    """One token for each byte: for the tiny network, which has no tokenizer of its own."""

    def tokenize(texts: Sequence[str]) -> Tokens:
        rows = [[begin, *text.encode(), end] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if len(row) > most_tokens:
                raise _too_long(text, len(row), most_tokens)
        longest = max(len(row) for row in rows)
        return Tokens(
            torch.tensor([row + [end] * (longest - len(row)) for row in rows]),
            torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
        )

    return tokenize
