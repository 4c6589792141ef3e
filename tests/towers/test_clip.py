import pytest

from escnet.towers.clip import CLIP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of a cat", "a photo of a cat"),
        ("salt &amp; pepper", "salt & pepper"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("a \N{LATIN SMALL LIGATURE FI}sh", "a fish"),
        ("the baker\N{RIGHT SINGLE QUOTATION MARK}s shop", "the baker's shop"),
        ("cafÃ©", "café"),  # UTF-8 read as Latin-1
        (" two \t words\n", "two words"),
    ],
)
def test_texts_are_read_as_openais_tokenizer_reads_them(text: str, expected: str) -> None:
    assert CLIP.reading.prepare(text) == expected
