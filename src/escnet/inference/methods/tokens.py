"""Class names to tokens, by the tokenizer that lies beside the weights."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from tokenizers import Tokenizer

from escnet.errors import VocabularyError
from escnet.towers.text_reading import PLAIN_READING, TextReading
from escnet.weights.tokenizer_files import (
    TOKENIZER_FILES,
    TOKENIZER_SETTINGS_FILE,
    read_tokenizer,
)

TEXTS_AT_ONCE = 64
_SHOWN_CHARACTERS = 40


class Tokens(NamedTuple):
    """Padded token indices of some texts, and where they are not padding."""

    token: Int64[np.ndarray, "N T"]
    is_token: Int64[np.ndarray, "N T"]


Tokenize = Callable[[Sequence[str]], Tokens]


def encode_in_parts(
    texts: Sequence[str],
    encode: Callable[[Sequence[str]], Float32[np.ndarray, "n D"]],
    at_once: int = TEXTS_AT_ONCE,
) -> Float32[np.ndarray, "N D"]:
    """What a text tower makes of any number of texts, in memory that does not grow with them.

    Texts of about the same length are encoded together, so that little of the work is for padding.

    Args:
        texts: One or more.
        encode: The text tower on some of them.
        at_once: How many are encoded together.
    """
    if len(texts) <= at_once:
        return encode(texts)
    order = np.argsort([len(text) for text in texts], kind="stable")
    starts = range(0, len(texts), at_once)
    parts = [[texts[index] for index in order[start : start + at_once]] for start in starts]
    encoded = np.concatenate([encode(part) for part in parts])
    return encoded[np.argsort(order)]


def text_keys(tokens: Tokens, settings: Mapping[str, object], rows: int = 1) -> list[bytes]:
    """For each text the SHA-256 of its tokens, without padding, and of the tower's settings.

    Args:
        tokens: Of all texts.
        settings: What moves an embedding besides the weights and the tokens.
        rows: How many rows of tokens a text has.
    """
    shared = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    keys = []
    for start in range(0, len(tokens.token), rows):
        digest = shared.copy()
        for row in range(start, start + rows):
            read = tokens.token[row][tokens.is_token[row] > 0]
            digest.update(np.array([len(read), *read], "<i8").tobytes())
        keys.append(digest.digest())
    return keys


def load_tokenizer(
    folder: Path, most_tokens: int, reading: TextReading = PLAIN_READING
) -> Tokenize:
    """A function from texts to tokens.

    Args:
        folder: Of the tokenizer's files.
        most_tokens: What the text tower reads at most.
        reading: How it wants its texts.

    Raises:
        WeightsError: If there is no tokenizer in the folder, or it is damaged.
    """
    if reading.padded_to is not None:
        most_tokens = min(most_tokens, reading.padded_to)
    tokenizer = read_tokenizer(folder)
    tokenizer.no_truncation()  # a cut name would silently be another name
    length = None if reading.padded_to is None else most_tokens
    tokenizer.enable_padding(length=length, **_padding_of(tokenizer, folder, reading.padding))

    def tokenize(texts: Sequence[str]) -> Tokens:
        encoded = tokenizer.encode_batch([reading.prepare(text) for text in texts])
        for text, one in zip(texts, encoded, strict=True):
            if (count := sum(one.attention_mask)) > most_tokens:
                raise _too_long(text, count, most_tokens)
        return Tokens(
            np.array([one.ids for one in encoded], np.int64),
            np.array([one.attention_mask for one in encoded], np.int64),
        )

    return tokenize


def _too_long(text: str, num_tokens: int, most_tokens: int) -> VocabularyError:
    """The error for a text, which is a class name in its template."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return VocabularyError(
        f"text {shown!r} has {num_tokens} tokens, but the text tower reads {most_tokens}: "
        "shorten the class name in it"
    )


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
            np.array([row + [end] * (longest - len(row)) for row in rows], np.int64),
            np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.int64),
        )

    return tokenize
