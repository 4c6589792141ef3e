"""The built-in model's tokenizer, which reads glued words as two."""

from functools import partial
from pathlib import Path

from escnet.inference.methods.tokens import Tokenize, load_tokenizer
from escnet.inference.names.glued_words import WORDS_FILE, read_words, split_glued
from escnet.towers.text_reading import TextReading


def load_mini_tokenizer(folder: Path, most_tokens: int) -> Tokenize:
    """As `load_tokenizer`, with glued words split where a list of words lies in the folder.

    Raises:
        WeightsError: If there is no tokenizer in the folder, or a file is damaged.
    """
    words = read_words(folder / WORDS_FILE)
    if words is None:
        return load_tokenizer(folder, most_tokens)
    reading = TextReading(prepare=partial(split_glued, words=words))
    return load_tokenizer(folder, most_tokens, reading)
