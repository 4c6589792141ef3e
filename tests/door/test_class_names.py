import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escnet.errors import VocabularyError
from escnet.vocabulary import Vocabulary

repeatable = settings(
    derandomize=True,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
GRAMMAR = st.text(st.sampled_from(list("ab ,=|#\\\n\té{}")), max_size=40)
NAMES = st.lists(
    st.text(st.sampled_from(list("abcß天é,=|#\\ {}'\"")), min_size=1, max_size=8)
    .map(lambda name: " ".join(name.split()))
    .filter(bool),
    min_size=1,
    max_size=6,
    unique_by=lambda name: unicodedata.normalize("NFC", name.casefold()),
)


def escaped(name: str) -> str:
    """The name with a backslash before each character that the grammar would read as its own."""
    return "".join(
        f"\\{character}" if character in ",=|#\\{'\"" else character for character in name
    )


@repeatable
@given(NAMES)
def test_escaped_names_joined_by_commas_are_read_back(names: list[str]) -> None:
    line = ", ".join(escaped(name) for name in names)
    assert Vocabulary.parse(line) == Vocabulary.of(names)
    assert Vocabulary.parse(line).labels == tuple(names)


@repeatable
@given(NAMES)
def test_escaped_synonyms_joined_by_bars_are_read_back(names: list[str]) -> None:
    line = f"{escaped(names[0])} = {'|'.join(escaped(name) for name in names)}"
    assert Vocabulary.parse(line) == Vocabulary.of({names[0]: names})


@repeatable
@given(NAMES)
def test_escaped_names_are_read_back_from_the_lines_of_a_file(
    tmp_path: Path, names: list[str]
) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(escaped(name) for name in names), encoding="utf-8")
    assert Vocabulary.read(path).labels == tuple(names)


@repeatable
@given(st.one_of(GRAMMAR, st.text(max_size=60)))
def test_any_line_ends_in_a_consistent_vocabulary_or_in_one_clear_line(text: str) -> None:
    message = ""
    try:
        vocabulary = Vocabulary.parse(text)
    except VocabularyError as error:
        message = str(error)
    if message:
        assert message.isprintable()
        return
    assert len(vocabulary.owner) == len(vocabulary.queries)
    assert sorted(set(vocabulary.owner)) == list(range(len(vocabulary)))
    for name in vocabulary.labels + vocabulary.queries:
        assert name == unicodedata.normalize("NFC", name).strip()
        assert name
        assert "  " not in name


@repeatable
@given(data=st.binary(max_size=60), suffix=st.sampled_from([".txt", ".json"]))
def test_any_file_ends_in_a_vocabulary_or_in_one_clear_line(
    tmp_path: Path, data: bytes, suffix: str
) -> None:
    path = tmp_path / f"names{suffix}"
    path.write_bytes(data)
    message, num_labels = "", 0
    try:
        num_labels = len(Vocabulary.read(path))
    except VocabularyError as error:
        message = str(error)
    assert message.isprintable()
    assert (num_labels >= 1) != bool(message)


def test_a_name_of_five_hundred_words_is_refused_with_both_numbers() -> None:
    with pytest.raises(VocabularyError, match="has 500 words, but at most 64 are read"):
        Vocabulary.parse("road, " + "a " * 500)
