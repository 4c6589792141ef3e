from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from escnet.data.source_kinds import common_kind, kind_of
from escnet.errors import ConfigError


def tiff(path: Path, *, is_placed: bool) -> Path:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if is_placed:
        tags[34735] = (1, 1, 0, 0)
        tags.tagtype[34735] = 3
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path, "TIFF", tiffinfo=tags)
    return path


@pytest.mark.parametrize(("is_placed", "kind"), [(True, "raster"), (False, "picture")])
def test_a_tiff_with_geotiff_s_keys_is_a_raster(tmp_path: Path, is_placed: bool, kind: str) -> None:
    assert kind_of(tiff(tmp_path / "a.jpg", is_placed=is_placed)) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x20ftypisom....", "film"),
        (b"\0\0\0\x20ftypheic....", "picture"),
        (b"\x1a\x45\xdf\xa3webm", "film"),
        (b"RIFF....AVI LIST", "film"),
        (b"RIFF....WEBPVP8 ", "picture"),
        ((b"G" + bytes(187)) * 3, "film"),
        (b"<VRTDataset>", "raster"),
        (b"II*\0\xff\xff\xff\xff", "picture"),
        (b"", "picture"),
    ],
)
def test_content_says_what_a_source_is(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert kind_of(tmp_path / "a.txt") == kind


@pytest.mark.parametrize("source", ["rtsp://127.0.0.1/door", "camera:0"])
def test_streams_and_cameras_are_films(source: str) -> None:
    assert kind_of(source) == "film"


def test_sources_of_several_kinds_are_refused_unless_one_is_asked_for(tmp_path: Path) -> None:
    sources = [tiff(tmp_path / "a.tif", is_placed=True), tiff(tmp_path / "b.tif", is_placed=False)]
    with pytest.raises(ConfigError, match=r"a\.tif is a raster and .*b\.tif a picture"):
        common_kind(sources)
    assert common_kind(sources, "picture") == "picture"
    with pytest.raises(ConfigError, match="'photo' is unknown: choose from auto"):
        common_kind(sources, "photo")
