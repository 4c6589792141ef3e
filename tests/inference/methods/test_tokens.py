import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from escnet.errors import VocabularyError, WeightsError
from escnet.inference.methods.tokens import (
    byte_tokenizer,
    load_tokenizer,
)
from escnet.towers.text_reading import TextReading
from escnet.weights.tokenizer_files import TOKENIZER_FILE, TOKENIZER_SETTINGS_FILE

INDEX = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "dining": 5, "table": 6, "cat": 7}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tokenizer of one token a word, as sentence encoders have theirs."""
    tokenizer = Tokenizer(WordLevel(INDEX, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(4)  # as published files have it; it must not cut a name
    tokenizer.save(str(tmp_path / TOKENIZER_FILE))
    return tmp_path


def test_texts_are_padded_to_the_longest_and_the_padding_is_marked(folder: Path) -> None:
    tokens = load_tokenizer(folder, 77)(["cat", "a dining table"])
    assert tokens.token.tolist() == [[2, 7, 3, 0, 0], [2, 4, 5, 6, 3]]
    assert tokens.is_token.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_a_fixed_length_pads_every_text_to_it(folder: Path) -> None:
    tokens = load_tokenizer(folder, 77, TextReading(padded_to=7))(["cat"])
    assert tokens.token.tolist() == [[2, 7, 3, 0, 0, 0, 0]]


def test_the_padding_that_the_file_names_is_used(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.enable_padding(pad_id=1, pad_token="[UNK]")  # noqa: S106
    tokenizer.save(str(folder / TOKENIZER_FILE))
    assert load_tokenizer(folder, 77)(["cat", "a cat"]).token[0].tolist() == [2, 7, 3, 1]


@pytest.mark.parametrize("named", ['"[UNK]"', '{"content": "[UNK]", "lstrip": false}'])
def test_the_padding_of_transformers_settings_comes_first(folder: Path, named: str) -> None:
    (folder / TOKENIZER_SETTINGS_FILE).write_text(f'{{"pad_token": {named}}}')
    assert load_tokenizer(folder, 77)(["cat", "a cat"]).token[0].tolist() == [2, 7, 3, 1]


@pytest.mark.parametrize("settings", ["{}", '{"pad_token": null}', '{"pad_token": "gone"}'])
def test_settings_that_name_no_padding_leave_the_usual(folder: Path, settings: str) -> None:
    (folder / TOKENIZER_SETTINGS_FILE).write_text(settings)
    assert load_tokenizer(folder, 77)(["cat", "a cat"]).token[0].tolist() == [2, 7, 3, 0]


@pytest.mark.parametrize("settings", ["{", "[]", "[" * 100_000])
def test_damaged_settings_of_a_tokenizer_are_named(folder: Path, settings: str) -> None:
    (folder / TOKENIZER_SETTINGS_FILE).write_text(settings)
    with pytest.raises(WeightsError, match=r"tokenizer_config\.json (is|holds) .*copy it again"):
        load_tokenizer(folder, 77)


def test_a_name_of_too_many_tokens_says_so_and_one_that_just_fits_is_read(folder: Path) -> None:
    tokenize = load_tokenizer(folder, 5)
    assert tokenize(["a cat cat"]).token.shape == (1, 5)
    with pytest.raises(VocabularyError, match=r"'a cat cat cat' has 6 tokens, .* reads 5: shorten"):
        tokenize(["cat", "a cat cat cat"])


def test_a_long_name_is_shown_shortened(folder: Path) -> None:
    message = r"^text 'a photo of a cat .*…' has \d+ tokens, .*: shorten the class name in it$"
    with pytest.raises(VocabularyError, match=message) as error:
        load_tokenizer(folder, 5)(["a photo of a " + "cat " * 300])
    assert len(str(error.value)) < 150


def test_a_folder_without_a_tokenizer_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no tokenizer\.json in .*: copy it"):
        load_tokenizer(tmp_path, 77)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"model": 1}', b"\xff\xfe"])
def test_a_damaged_tokenizer_is_an_error_of_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / TOKENIZER_FILE).write_bytes(content)
    with pytest.raises(WeightsError, match=r"tokenizer\.json is no tokenizer"):
        load_tokenizer(tmp_path, 77)


def test_the_tokenizer_outlives_its_folder(folder: Path) -> None:
    tokenize = load_tokenizer(folder, 77)
    shutil.rmtree(folder)
    assert tokenize(["cat"]).token.tolist() == [[2, 7, 3]]


def test_bytes_become_tokens_between_the_two_ends() -> None:
    tokens = byte_tokenizer(298, 299, 77)(["ab", "é!?"])
    assert tokens.token.tolist() == [[298, 97, 98, 299, 299, 299], [298, 195, 169, 33, 63, 299]]
    assert tokens.is_token.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]


def test_bytes_beyond_what_the_tower_reads_are_refused() -> None:
    tokens = byte_tokenizer(298, 299, 6)(["abcd"])
    assert tokens.token.tolist() == [[298, 97, 98, 99, 100, 299]]
    assert tokens.is_token.dtype == np.int64
    message = "text 'abcé' has 7 tokens, but the text tower reads 6: shorten the class name in it"
    with pytest.raises(VocabularyError, match=message):
        byte_tokenizer(298, 299, 6)(["ab", "abcé"])
