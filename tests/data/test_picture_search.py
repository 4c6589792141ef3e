import os
from pathlib import Path

import pytest

from escnet.data.picture_search import find_images, find_pictures, natural_key
from escnet.errors import ImageError


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty files: finding looks at names alone."""
    for name in ("10.png", "2.png", "1.JPG", "notes.txt", ".hidden.png", "[1-9].png"):
        (tmp_path / name).touch()
    for name in ("sub", "sub/deep", ".git", "folder.jpg"):
        (tmp_path / name).mkdir()
    for name in ("sub/3.webp", "sub/deep/4.tiff", ".git/5.png", "folder.jpg/6.gif"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*sources: str | Path, recursive: bool = False) -> list[str]:
    return [path.as_posix() for path in find_images(sources, recursive=recursive)]


@pytest.mark.usefixtures("pictures")
def test_a_folder_gives_its_pictures_in_natural_order() -> None:
    assert found(".") == ["1.JPG", "2.png", "10.png", "[1-9].png"]


@pytest.mark.usefixtures("pictures")
def test_folders_within_are_searched_on_request_but_not_hidden_ones() -> None:
    inner = ["folder.jpg/6.gif", "sub/3.webp", "sub/deep/4.tiff"]
    assert sorted(found(".", recursive=True)) == sorted([*found("."), *inner])


@pytest.mark.usefixtures("pictures")
def test_a_pattern_gives_the_pictures_it_matches() -> None:
    assert found("*.png") == ["2.png", "10.png", "[1-9].png"]
    assert found("*") == ["1.JPG", "2.png", "10.png", "[1-9].png"]
    assert found("sub/**/*.tiff", recursive=True) == ["sub/deep/4.tiff"]


@pytest.mark.usefixtures("pictures")
def test_what_exists_is_no_pattern() -> None:
    assert found("[1-9].png") == ["[1-9].png"]


@pytest.mark.usefixtures("pictures")
def test_a_named_file_is_taken_whatever_its_suffix() -> None:
    assert found("notes.txt", ".hidden.png") == ["notes.txt", ".hidden.png"]


def test_a_picture_named_twice_is_taken_once_and_the_order_is_kept(pictures: Path) -> None:
    assert found("sub", "2.png", pictures / "2.png", "./sub/../2.png", "*.png") == [
        "sub/3.webp",
        "2.png",
        "10.png",
        "[1-9].png",
    ]


@pytest.mark.usefixtures("pictures")
def test_one_source_need_not_be_in_a_list() -> None:
    assert find_images("2.png") == find_images(Path("2.png")) == [Path("2.png")]


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.png", "picture missing.png does not exist"),
        ("*.bmp", r"pattern \*.bmp holds no picture \(.jpg, .*: check the path"),
        ("*.txt", r"pattern \*.txt holds no picture among 1 files \("),
        ("sub/deep/../../.git/none", "does not exist"),
        ("", "source '' names nothing"),
        ("a\0b", "does not exist"),
    ],
)
def test_a_source_that_gives_nothing_is_named(source: str, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        find_images(["2.png", source])
    assert str(caught.value).isprintable()


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"folder {tmp_path} holds no picture"):
        find_images([tmp_path], recursive=True)


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["b/1", "a10", "a9b", "a9a", "A8", "9", "10"]
    assert [str(p) for p in sorted(map(Path, names), key=natural_key)] == [
        "9",
        "10",
        "A8",
        "a9a",
        "a9b",
        "a10",
        "b/1",
    ]


@pytest.mark.usefixtures("pictures")
def test_what_is_passed_over_is_counted_by_kind() -> None:
    for name in ("a.txt", "b.SVG", "README"):
        Path(name).touch()
    looked = find_pictures(".")
    assert looked.passed_over == {".txt": 2, ".svg": 1, "": 1}
    assert looked.remarks() == [
        "4 files are passed over, which no picture is called: 2 .txt, 1 .svg, 1 without a suffix"
    ]
    Path("1.json").write_text('{"escnet": "0.1"}')  # of an earlier run
    assert find_pictures(".").passed_over == {".txt": 2, ".svg": 1, "": 1}
    assert find_pictures("*.png").remarks() == []
    assert find_pictures("notes.txt").remarks() == []


def test_many_kinds_are_told_in_one_line(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"x.{number}").touch()
    (tmp_path / "x.jpg").touch()
    (line,) = find_pictures(tmp_path).remarks()
    assert line.startswith("9 files are passed over")
    assert line.endswith(", 3 other kinds")


def test_a_folder_that_has_pictures_only_in_folders_says_how_they_are_had(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.jpg").touch()
    with pytest.raises(ImageError, match="pass --recursive to search folders in folders"):
        find_images(tmp_path)


@pytest.mark.usefixtures("pictures")
def test_a_folder_within_that_cannot_be_read_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    looked = find_pictures(".", recursive=True)
    assert "sub/3.webp" in [path.as_posix() for path in looked.paths]
    assert looked.unreadable == (
        "folder ./sub/deep cannot be read (Permission denied) and is passed over",
    )


def test_every_suffix_of_a_camera_is_a_picture(tmp_path: Path) -> None:
    names = ("a.jpg", "b.jfif", "c.jpe", "d.avif", "e.heic", "f.jp2", "g.ppm", "h.PNG", "i.jxl")
    for name in (*names, "notes.txt"):
        (tmp_path / name).touch()
    looked = find_pictures(tmp_path)
    assert [path.name for path in looked.paths] == list(names)
    assert looked.passed_over == {".txt": 1}
