import gzip
from pathlib import Path

import pytest
from published import shadows, write_files, write_packed

from escnet.data.downloads import Downloads
from escnet.errors import DatasetError

FILES = {"top/deep/b.png": b"b", "top/deep/a.png": b"a", "top/deep/a.JPG": b"A", "other/a.png": b""}
ARCHIVES = ["x.zip", "X.ZIP", "x.tar", "x.tar.gz", "x.tgz", "x.tar.gz."]


@pytest.mark.parametrize("name", ["", *ARCHIVES])
def test_files_are_found_by_the_end_of_their_folder(name: str, tmp_path: Path) -> None:
    with Downloads(write_packed(tmp_path, {name: FILES | shadows(FILES)})) as found:
        for tail in ("deep", "top/deep"):
            files = found.in_folder(tail, ".png")
            assert {stem: file.read() for stem, file in files.items()} == {"a": b"a", "b": b"b"}
        assert found.in_folder("deep", ".jpg")["a"].read() == b"A"
        assert not found.in_folder("eep", ".png")
        assert not found.in_folder("top", ".png")


@pytest.mark.parametrize("name", ARCHIVES)
def test_members_are_read_in_any_order_and_named_with_their_archive(
    name: str, tmp_path: Path
) -> None:
    files = {f"maps/{n}.mat": str(n).encode() * 1_000 for n in range(20)}
    with Downloads(write_packed(tmp_path, {name: files})) as found:
        maps = found.in_folder("maps", ".mat")
        for n in (19, 0, 7, 19, 3):
            assert maps[str(n)].read() == str(n).encode() * 1_000
        assert maps["7"].shown.endswith(f"{name}:maps/7.mat")


def test_a_folder_that_is_given_itself_counts_as_part_of_the_path(tmp_path: Path) -> None:
    write_files(tmp_path, {"CamVid/test/1.png": b"x"})
    with Downloads(tmp_path / "CamVid") as found:
        assert list(found.in_folder("CamVid/test", ".png")) == ["1"]


def test_unpacked_files_come_before_those_in_archives(tmp_path: Path) -> None:
    write_packed(tmp_path, {"a.zip": {"deep/a.png": b"packed"}, "": {"z/deep/a.png": b"plain"}})
    with Downloads(tmp_path) as found:
        assert found.in_folder("deep", ".png")["a"].read() == b"plain"
        named = found.file("deep/a.png")
        assert named is not None
        assert named.read() == b"plain"
        assert found.file("eep/a.png") is None


def test_what_was_converted_is_found_only_under_its_own_name(tmp_path: Path) -> None:
    write_files(tmp_path, {"maps_detectron2/val/a.png": b"x"})
    with Downloads(tmp_path) as found:
        assert not found.in_folder("val", ".png")
        assert list(found.in_folder("maps_detectron2/val", ".png")) == ["a"]


def test_files_below_a_folder_are_found_at_any_depth(tmp_path: Path) -> None:
    files = {"x/images/ADE/val/a/b/1.jpg": b"", "images/ADE/valley/2.jpg": b""}
    with Downloads(write_packed(tmp_path, {"a.tar": files})) as found:
        assert [file.path.name for file in found.below("images/ADE/val")] == ["1.jpg"]


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4 cut", b"\x1f\x8b\x08 cut"])
def test_a_damaged_archive_is_named_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"^archive .*{name} cannot be read .*: fetch it again"):
        Downloads(tmp_path).__enter__()


def test_a_gzip_stream_that_breaks_off_or_is_damaged_is_named(tmp_path: Path) -> None:
    write_packed(tmp_path, {"x.tar": {"a": bytes(range(256)) * 1_000}})
    whole = gzip.compress((tmp_path / "x.tar").read_bytes())
    (tmp_path / "x.tar").unlink()
    middle = len(whole) // 2
    no_block = whole[:10] + b"\xff" + whole[11:]  # deflate has no blocks of kind 3
    wrong = whole[:middle] + b"\0\0\0\0" + whole[middle + 4 :]
    for content in (whole[:middle], wrong, no_block):
        (tmp_path / "x.tgz").write_bytes(content)
        with pytest.raises(DatasetError, match=r"x\.tgz cannot be read"):
            Downloads(tmp_path).__enter__()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder .*none: give the one with the downloaded"):
        Downloads(tmp_path / "none")
