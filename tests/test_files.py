import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from escnet.errors import OutputError
from escnet.files import (
    is_foreign,
    is_of_one_name,
    is_ours,
    make_folder,
    remove_leftovers,
    replace_file,
    write_file,
)


def test_a_written_file_holds_its_content_and_nothing_is_beside_it(tmp_path: Path) -> None:
    write_file(tmp_path / "a.json", b"one")
    replace_file(tmp_path / "a.json", b"two")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"two"


@pytest.mark.parametrize(
    "mine",
    [
        b"one",
        b'{"name": "escnet"}',
        b"\n<!-- made by escnet -->",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_a_file_that_escnet_did_not_write_is_not_replaced(tmp_path: Path, mine: bytes) -> None:
    (tmp_path / "a").write_bytes(mine)
    with pytest.raises(OutputError, match="a is no result of escnet and would be replaced"):
        write_file(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == mine


@pytest.mark.parametrize(
    "ours",
    [
        b' {"escnet": "0.1.0"}',
        b"<!-- made by escnet -->",
        b"<!DOCTYPE html>\n<!-- made by escnet -->",
        b"\xff\xd8\xff..made by escnet",
        b"\x89PNG\r\n\x1a\n\n\nescnet:names\0",
    ],
)
def test_a_file_with_the_mark_is_replaced_and_so_is_an_empty_one(
    tmp_path: Path, ours: bytes
) -> None:
    for content in (ours, b""):
        (tmp_path / "a").write_bytes(content)
        write_file(tmp_path / "a", b"two")
        assert (tmp_path / "a").read_bytes() == b"two"


def test_a_file_that_cannot_be_read_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b'{"escnet": ""}')

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert is_foreign(tmp_path / "a")
    assert not is_ours(tmp_path / "a")


def test_a_file_may_come_in_pieces_and_is_left_out_if_one_fails(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one "
        raise KeyboardInterrupt

    write_file(tmp_path / "a", iter([b"one ", b"two"]))
    assert (tmp_path / "a").read_bytes() == b"one two"
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "a", pieces())
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"one two")]


def test_a_written_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_file(tmp_path / "ours", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")}
    assert len(modes) == 1


@pytest.mark.parametrize("refused", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    write_file(tmp_path / "a.json", b"old")

    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, refused, no_space)
    with pytest.raises(
        OutputError, match=r"a\.json cannot be written \(no space left.*another folder"
    ):
        replace_file(tmp_path / "a.json", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"old"


def test_a_full_disk_is_of_no_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OutputError) as caught:
        replace_file(tmp_path / "a.json", b"new")
    assert not is_of_one_name(caught.value)


def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "a.json", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["n" * 255, "道" * 85])
def test_the_longest_file_name_can_be_written(tmp_path: Path, name: str) -> None:
    write_file(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


@pytest.mark.parametrize("name", ["n" * 256, "null\0", "no/such/folder", "folder"])
def test_an_impossible_name_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError) as caught:
        write_file(tmp_path / name, b"x")
    assert "\n" not in str(caught.value)
    assert is_of_one_name(caught.value) == (name != "no/such/folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    assert list(make_folder(tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(OutputError, match="cannot be written"):
            make_folder(folder)


def test_only_leftovers_of_the_named_files_are_removed(tmp_path: Path) -> None:
    names = [".a.json.0123abcd.part", ".b.json.0123abcd.part", ".a.json.part", "a.json"]
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, ["a.json"])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[1:])


def test_looking_for_leftovers_in_no_folder_does_nothing(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "none", ["a.json"])
