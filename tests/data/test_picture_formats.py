"""Pictures as cameras, phones and satellites leave them; right values from OpenCV or by hand."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import exif, png, rows_of
from PIL import Image

from escnet.data.image import image_size_hw, num_pages_of, read_image, read_picture
from escnet.data.value_range import ValueRange
from escnet.errors import ImageError

CASES = Path(__file__).parents[3] / "shared" / "cases"


def smooth() -> np.ndarray:
    rgb = np.zeros((24, 40, 3), np.uint8)
    rgb[:, :, 0] = np.linspace(0, 250, 40)
    rgb[:, :, 1] = np.linspace(0, 250, 24)[:, None]
    return rgb


@pytest.mark.parametrize(
    ("suffix", "kind", "options", "most"),
    [
        (".jfif", "JPEG", {"quality": 95}, 12),
        (".jpe", "JPEG", {"quality": 95}, 12),
        (".avif", "AVIF", {"quality": 90}, 24),
        (".jp2", "JPEG2000", {}, 0),
        (".ppm", "PPM", {}, 0),
    ],
)
def test_formats_of_pillow_are_read(
    suffix: str, kind: str, options: dict[str, Any], most: int, tmp_path: Path
) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(smooth()).save(path, kind, **options)
    assert np.abs(read_image(path).astype(int) - smooth()).max() <= most
    assert image_size_hw(path) == (24, 40)


@pytest.mark.parametrize(
    ("module", "kind", "suffix"), [("pillow_heif", "HEIF", ".heic"), ("pillow_jxl", "JXL", ".jxl")]
)
def test_formats_of_plugins_are_read_and_named_where_the_plugin_is_missing(
    module: str, kind: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = pytest.importorskip(module)
    if kind == "HEIF":
        plugin.register_heif_opener()
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(smooth()).save(path, kind, quality=95)
    assert np.abs(read_image(path).astype(int) - smooth()).mean() < 6
    assert image_size_hw(path) == (24, 40)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=r"which a plug-in of Pillow reads: pip install 'escnet\["):
        read_image(path)


def twelve_bits() -> np.ndarray:
    """0 to 4095 in 16 bits."""
    return (smooth().astype(np.uint32) * 4095 // 255).astype(np.uint16)


def test_12_bit_grey_in_16_is_the_8_bit_picture() -> None:
    values = twelve_bits()[:, :, 0]
    found = read_image(Image.fromarray(values))
    assert np.abs(found[:, :, 0].astype(int) - smooth()[:, :, 0]).max() <= 1


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("bands", [3, 4])
def test_12_bit_colours_in_16_are_the_8_bit_picture(kind: str, bands: int, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    path = tmp_path / f"x.{kind}"
    values = twelve_bits()
    if kind == "png":
        opaque = np.full((24, 40, 1), 65_535, np.uint16)
        values = np.concatenate([values, opaque], 2)[:, :, :bands]
        path.write_bytes(png(rows_of(values), width=40, height=24, depth=16,
                             colour=2 if bands == 3 else 6))  # fmt: skip
    else:
        infrared = np.full((24, 40, 1), 9_000, np.uint16)  # no colour, and beyond the colours
        values = np.concatenate([values, infrared], 2)[:, :, :bands]
        extra = {"extrasamples": ["unspecified"]} if bands == 4 else {}
        tifffile.imwrite(path, values, photometric="rgb", **extra)
    found = read_picture(path)
    assert found.value_range == ValueRange(0, 4095)
    assert np.abs(found.pixels.astype(int) - smooth()).max() <= 1


def test_12_bit_colours_without_the_packages_that_read_them_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    path = tmp_path / "x.png"
    path.write_bytes(png(rows_of(twelve_bits()), width=40, height=24, depth=16))
    with pytest.raises(ImageError, match=r"use only the lower ones .*pip install 'escnet\[pict"):
        read_image(path)


def test_a_depth_of_the_callers_takes_the_rules_place(tmp_path: Path) -> None:
    Image.fromarray(twelve_bits()[:, :, 0]).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png").value_range == ValueRange(0, 4095)
    found = read_picture(tmp_path / "x.png", depth=16)
    assert found.value_range == ValueRange(0, 65_535)
    assert found.pixels.max() == 16  # 4014 x 255 / 65535 is 15.6


def test_a_picture_of_bytes_has_no_range_of_values(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png").value_range is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_orientation_that_was_applied_is_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    Image.fromarray(smooth()).save(path, kind, exif=exif(6))
    found = read_picture(path)
    assert found.orientation == 6
    assert found.pixels.shape == (40, 24, 3)
    Image.fromarray(smooth()).save(path, kind)
    assert read_picture(path).orientation == 1


def test_deep_colours_are_turned_once(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, twelve_bits(), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    found = read_picture(path)
    assert found.orientation == 6
    upright = np.rot90(smooth(), -1)
    assert np.abs(found.pixels.astype(int) - upright).max() <= 1


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_pages_are_counted_and_each_can_be_had(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    pages = [Image.new("RGB", (5, 4), (40 * number, 0, 0)) for number in range(3)]
    pages[0].save(path, kind, save_all=True, append_images=pages[1:])
    assert num_pages_of(path) == 3
    for number in range(3):
        found = read_picture(path, page=number + 1)
        assert found.pixels[0, 0].tolist() == [40 * number, 0, 0]
        assert (found.page, found.num_pages) == (number + 1, 3)
    for page in (0, 4):
        with pytest.raises(ImageError, match=rf"has no page {page}: give one of 1 to 3"):
            read_image(path, page=page)


def test_a_photograph_has_one_page(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "x.png")
    assert num_pages_of(tmp_path / "x.png") == 1


@pytest.mark.parametrize(
    "name", ["grey16_full.png", "grey16_12bit.png", "grey16_12bit.tif",
             "rgb16_reflectance.tif", "rgbn16.tif"],
)  # fmt: skip
def test_real_pictures_of_more_bits_are_as_those_of_eight(name: str) -> None:
    folder = CASES / "08-12-bits-in-16"
    if not folder.is_dir():
        pytest.skip("the cases are not beside this project")
    eight = read_image(folder / ("rgb8.png" if name.startswith("rgb") else "grey8.png"))
    found = read_image(folder / name).astype(int)
    assert np.abs(found - eight).mean() < 5
