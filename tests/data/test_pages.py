import pytest

from escnet.data.pages import Pages
from escnet.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "num_pages", "expected"),
    [
        ("first", 3, [1]),
        ("all", 3, [1, 2, 3]),
        ("all", 1, [1]),
        ("1,3-5", 4, [1, 3, 4]),
        ("3 , 1-2, 2", 9, [1, 2, 3]),
        ("2-999999", 3, [2, 3]),
        ("7", 3, []),
    ],
)
def test_a_choice_of_pages_gives_those_that_a_file_has(
    text: str, num_pages: int, expected: list[int]
) -> None:
    assert Pages.parse(text).of(num_pages) == expected


@pytest.mark.parametrize("text", ["", "0", "3-1", "a", "1,,2", "-1", "1-2-3", "1;2", "9" * 50])
def test_what_stands_for_no_pages_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="are no pages: give first, all, or numbers"):
        Pages.parse(text)
