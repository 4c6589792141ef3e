"""A tokenizer's files, as the hub has them: tokenizer.json, or CLIP's vocab.json and merges.txt."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from escnet.errors import WeightsError, first_line
from escnet.small_file import SmallFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_SETTINGS_FILE = "tokenizer_config.json"  # transformers'
VOCABULARY_FILES = ("vocab.json", "merges.txt")  # of CLIP's tokenizer, in the older layout
TOKENIZER_FILES = SmallFile(noun="", error=WeightsError, cure="copy it again")


def has_tokenizer(folder: Path) -> bool:
    """Whether there is one in either layout."""
    return any(
        all((folder / name).is_file() for name in names)
        for names in ((TOKENIZER_FILE,), VOCABULARY_FILES)
    )


def read_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer in a folder.

    Raises:
        WeightsError: If there is none, or it is damaged.
    """
    return _parsed(folder / TOKENIZER_FILE, tokenizer_json(folder))


def tokenizer_json(folder: Path) -> bytes:
    """What the folder's tokenizer.json holds, or would hold.

    Raises:
        WeightsError: If there is no tokenizer in either layout, or it is damaged.
    """
    if os.path.lexists(folder / TOKENIZER_FILE):
        return TOKENIZER_FILES.bytes_of(folder / TOKENIZER_FILE)
    if not has_tokenizer(folder):
        raise WeightsError(
            f"no {TOKENIZER_FILE} in {folder}, nor {' and '.join(VOCABULARY_FILES)}: copy it from "
            "where the text tower comes from"
        )
    from transformers import CLIPTokenizerFast  # noqa: PLC0415 -- slow to import, seldom needed

    from escnet.weights.quiet import quiet_transformers  # noqa: PLC0415

    vocabulary, merges = (folder / name for name in VOCABULARY_FILES)
    TOKENIZER_FILES.object_of(vocabulary)
    TOKENIZER_FILES.text_of(merges)
    try:
        with quiet_transformers():
            tokenizer = CLIPTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        return bytes(tokenizer.backend_tokenizer.to_str(), "utf-8")
    except Exception as error:
        if not isinstance(error, OSError | ValueError | LookupError | TypeError) and (
            type(error) is not Exception  # the library raises this and nothing narrower
        ):
            raise
        raise WeightsError(
            f"{vocabulary} and {merges.name} are no tokenizer ({first_line(error)}): "
            "copy them again"
        ) from error


def _parsed(path: Path, content: bytes) -> "Tokenizer":
    from tokenizers import Tokenizer  # noqa: PLC0415 -- who looks for the files needs none

    try:
        return Tokenizer.from_buffer(content)
    except ValueError as error:
        raise WeightsError(
            f"{path} is no tokenizer ({first_line(error)}): copy it again"
        ) from error
