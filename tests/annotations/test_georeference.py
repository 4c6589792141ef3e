from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from escnet.annotations.georeference import Georeference, read_georeference


def geotiff(path: Path, tags: dict[int, tuple[object, ...]]) -> Path:
    directory = ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
        directory.tagtype[tag] = 3 if tag == 34735 else 12
    Image.new("L", (4, 3)).save(path, tiffinfo=directory)
    return path


def test_scale_and_tie_point_place_a_geotiff(tmp_path: Path) -> None:
    keys = (1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, 32633)
    tags: dict[int, tuple[object, ...]] = {
        33550: (2.0, 3.0, 0.0),
        33922: (1.0, 1.0, 0.0, 100.0, 200.0, 0.0),
        34735: keys,
    }
    assert read_georeference(geotiff(tmp_path / "a.tif", tags)) == Georeference(
        (2.0, 0.0, 98.0, 0.0, -3.0, 203.0), 32633
    )


def test_points_at_centres_are_half_a_pixel_off(tmp_path: Path) -> None:
    tags: dict[int, tuple[object, ...]] = {
        33550: (2.0, 2.0, 0.0),
        33922: (0.0, 0.0, 0.0, 100.0, 200.0, 0.0),
        34735: (1, 1, 0, 2, 1025, 0, 1, 2, 2048, 0, 1, 4326),
    }
    found = read_georeference(geotiff(tmp_path / "a.tif", tags))
    assert found == Georeference((2.0, 0.0, 99.0, 0.0, -2.0, 201.0), 4326)


def test_a_world_file_s_point_is_the_first_pixel_s_centre(tmp_path: Path) -> None:
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("2\n0\n0\n-2\n101\n199\n")
    found = read_georeference(tmp_path / "a.png")
    assert found == Georeference((2.0, 0.0, 100.0, 0.0, -2.0, 200.0))


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d e f", "1\n" * 4000])
def test_what_is_no_world_file_places_nothing(tmp_path: Path, text: str) -> None:
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(text)
    assert read_georeference(tmp_path / "a.png") is None


def test_pictures_without_a_place_and_files_that_are_none_place_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    assert read_georeference(tmp_path / "a.jpg") is None
    assert read_georeference(tmp_path / "absent.tif") is None


def test_points_go_through_the_whole_affine_map() -> None:
    where = Georeference((2.0, 3.0, 10.0, 5.0, 7.0, 20.0))
    assert where.to_map(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist() == [[15, 32], [16, 34]]
