from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from escnet.errors import WeightsError
from escnet.inference.names.glued_words import WORDS_FILE, split_glued, words_of
from escnet.mini.words import load_mini_tokenizer
from escnet.weights.tokenizer_files import TOKENIZER_FILE

WORDS = frozenset(
    ["dining", "table", "tv", "monitor", "car", "pet", "carpet", "sea", "shore", "été", "löwe"]
)
INDEX = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "dining": 5, "table": 6, "cat": 7}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tokenizer of one token a word, as sentence encoders have theirs."""
    tokenizer = Tokenizer(WordLevel(INDEX, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / TOKENIZER_FILE))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("diningtable", "dining table"),
        ("tvmonitor", "tv monitor"),
        ("a diningtable, or a tvmonitor!", "a dining table, or a tv monitor!"),
        ("carpet", "carpet"),  # known as a whole
        ("xyzzy", "xyzzy"),  # unknown, and no two words
        ("tablex", "tablex"),  # a rest that is no word
        ("DiningTable", "Dining Table"),
        ("TVMONITOR", "TV MONITOR"),
        ("seashore", "sea shore"),
        ("tv_monitor", "tv_monitor"),
        ("car-pet", "car-pet"),
        ("table7tv", "table7tv"),
        ("étélöwe", "été löwe"),
        ("ÉTÉLÖWE", "ÉTÉ LÖWE"),
        ("犬", "犬"),
        ("🐈", "🐈"),
        ("", ""),
    ],
)
def test_glued_words_are_split_where_two_known_ones_meet(text: str, expected: str) -> None:
    assert split_glued(text, WORDS) == expected


def test_the_most_even_split_is_taken() -> None:
    words = frozenset({"ab", "cdefgh", "abcd", "efgh", "abcdef", "gh"})
    assert split_glued("abcdefgh", words) == "abcd efgh"


def test_a_word_that_is_longer_in_lower_case_is_not_split_in_the_wrong_place() -> None:
    assert split_glued("İtable", frozenset({"İ".lower(), "table"})) in {"İtable", "İ table"}


def test_a_part_of_one_letter_is_no_word() -> None:
    assert split_glued("acat", frozenset({"a", "cat"})) == "acat"


@given(st.text(st.sampled_from("dinigtablevmorcpesh ÉéİßDT7_-犬"), max_size=40))
def test_splitting_adds_spaces_and_nothing_else(text: str) -> None:
    found = split_glued(text, WORDS)
    assert found.replace(" ", "") == text.replace(" ", "")
    assert found.count(" ") <= text.count(" ") + len(text) // 4


@given(st.lists(st.sampled_from(sorted(WORDS)), min_size=2, max_size=2))
def test_what_was_glued_of_two_words_is_words_again(pair: list[str]) -> None:
    found = split_glued("".join(pair), WORDS)
    assert set(found.split(" ")) <= WORDS


@given(st.text(max_size=40))
def test_without_known_words_every_text_stays(text: str) -> None:
    assert split_glued(text, frozenset()) == text


def test_the_words_of_names_are_in_lower_case_sorted_and_no_single_letters() -> None:
    names = ["Dining table", "a TV-monitor", "table_2", "Löwe"]
    assert words_of(names) == ["dining", "löwe", "monitor", "table", "tv"]


def test_glued_words_are_split_only_where_a_list_of_words_lies_beside(folder: Path) -> None:
    assert load_mini_tokenizer(folder, 77)(["diningtable"]).token.tolist() == [[2, 1, 3]]
    (folder / WORDS_FILE).write_text("dining\ntable\n", "utf-8")
    assert load_mini_tokenizer(folder, 77)(["diningtable"]).token.tolist() == [[2, 5, 6, 3]]


def test_a_list_of_words_that_is_no_text_is_an_error_of_ours(folder: Path) -> None:
    (folder / WORDS_FILE).write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(WeightsError, match=r"words\.txt is not UTF-8 text"):
        load_mini_tokenizer(folder, 77)
