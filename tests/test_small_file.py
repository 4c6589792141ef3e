import json
import os
from pathlib import Path

import pytest

from escnet.errors import ConfigError
from escnet.small_file import MAX_DEPTH, SmallFile

NOTE = SmallFile(noun="note", error=ConfigError, cure="write it again", most_bytes=2**20)


def refusal(path: Path, suffix: str = "json") -> str:
    read = {"json": NOTE.json_of, "toml": NOTE.toml_of, "text": NOTE.text_of}[suffix]
    with pytest.raises(ConfigError) as caught:
        read(path)
    return str(caught.value)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "note"
    path.write_bytes(content)
    return path


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"a": [1, -2.5, None, True, ']\\"[{é'], "b": {"c": []}}
    assert NOTE.json_of(written(tmp_path, json.dumps(value).encode())) == value


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert NOTE.text_of(written(tmp_path, b"\xef\xbb\xbfhello")) == "hello"
    assert NOTE.json_of(written(tmp_path, b"\xef\xbb\xbf[1]")) == [1]


def test_other_encodings_are_refused_with_the_byte_and_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, "né".encode("latin-1"))
    assert refusal(path, "text") == (
        f"note {path} is not UTF-8 text (byte 0xe9 at 1): save it as UTF-8"
    )


def test_a_missing_file_a_folder_and_a_null_character_are_one_line_each(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no") == f"note {tmp_path / 'no'} does not exist: check the path"
    assert refusal(tmp_path) == f"note {tmp_path} is a folder: name the file in it"
    assert "cannot be read (embedded null byte)" in refusal(Path("a\0b"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is not a regular file: save its content to one" in refusal(tmp_path / "pipe")


def test_a_link_to_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    assert "link is not a regular file: save its content to one" in refusal(tmp_path / "link")


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    assert len(NOTE.text_of(written(tmp_path, b" " * 2**20))) == 2**20
    path = written(tmp_path, b" " * (2**20 + 1))
    assert refusal(path, "text") == f"note {path} is larger than 1 MiB: write it again"


def test_a_huge_sparse_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = written(tmp_path, b"")
    os.truncate(path, 2**40)
    assert "is larger than 1 MiB" in refusal(path)


@pytest.mark.parametrize("kind", ["[]", "{}"])
def test_json_of_the_greatest_depth_is_read_and_one_level_more_is_refused(
    kind: str, tmp_path: Path
) -> None:
    start, end = ("[", "]") if kind == "[]" else ('{"a":', "}")
    inside = "1" if kind == "{}" else ""
    deepest = start * MAX_DEPTH + inside + end * MAX_DEPTH
    assert NOTE.json_of(written(tmp_path, deepest.encode()))
    path = written(tmp_path, (start + deepest + end).encode())
    assert refusal(path) == f"note {path} is nested more than 64 levels deep: write it again"


def test_brackets_in_strings_are_no_depth(tmp_path: Path) -> None:
    value = ["[" * 1000, '"' + "{" * 1000, "\\" + '"[' * 1000]
    assert NOTE.json_of(written(tmp_path, json.dumps(value).encode())) == value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON (Expecting value at line 1)"),
        (b"{\n]", "is not JSON (Expecting property name enclosed in double quotes at line 2)"),
        (b"NaN", "is not JSON (NaN is no finite number)"),
        (b"[-Infinity]", "is not JSON (-Infinity is no finite number)"),
        (b"[1e999]", "is not JSON (1e999 is no finite number)"),
        (b"1" * 5000, "is not JSON (a number has too many digits)"),
        (b"[" * 100_000, "is nested more than 64 levels deep"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = ", "is not TOML (Invalid value (at end of document))"),
        (b"a = nan", "is not TOML (nan is no finite number)"),
        (b"a = " + b"1" * 5000, "is not TOML (a number has too many digits)"),
        (b"a = " + b"[" * 100_000, "is nested more than 64 levels deep"),
        (b"a = " + b"[" * 100 + b"]" * 100, "is nested more than 64 levels deep"),
        (b"a = " + b"{b=" * 10_000, "is nested more than 64 levels deep"),
        (b".".join([b"a"] * 100) + b" = 1", "is nested more than 64 levels deep"),
        (b".".join([b"a"] * 100_000) + b" = 1", "has more than 256 dots in a line"),
        (b"[" + b".".join([b"a"] * 100_000) + b"]", "has more than 256 dots in a line"),
    ],
)
def test_what_is_no_toml_is_refused_with_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(written(tmp_path, content), "toml")


def test_an_object_is_not_a_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a JSON list, not an object: write it again"):
        NOTE.object_of(written(tmp_path, b"[]"))


def test_lines_come_with_their_numbers_and_a_torn_last_one_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, b"one\ntwo\nthr")
    assert list(NOTE.lines_of(path)) == [(1, b"one\n"), (2, b"two\n")]


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"one\n")
    os.truncate(path, 2**40)
    with pytest.raises(ConfigError, match="has more than 16 MiB in line 2: write it again"):
        list(NOTE.lines_of(path))


def test_a_path_that_no_terminal_can_show_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a\nb"
    assert refusal(path).isprintable()
