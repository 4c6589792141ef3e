"""Pictures and arrays as people have them, each with the pixels that it shows.

The right values are what was drawn, turned or scaled by hand; no reader of ours makes them.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from escnet.data.image import read_any, read_image

H, W = 4, 6
RGB = np.random.RandomState(0).randint(0, 256, (H, W, 3)).astype(np.uint8)
RGB[0, 0] = 255  # the brightest value is there in every range
GREY = RGB[:, :, 0]
GREY_RGB = np.repeat(GREY[:, :, None], 3, axis=2)
TURNS: dict[
    int, Callable[[np.ndarray], np.ndarray]
] = {  # from displayed to stored, by EXIF's table
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[:, ::-1],
}


def saved(kind: str, **options: Any) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        Image.fromarray(RGB).save(path, kind, **options)

    return make


def tiff(values: np.ndarray, **options: Any) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, values, **options)


def turned(orientation: int, kind: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(TURNS[orientation](RGB))
        Image.fromarray(stored).save(
            path, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})
        )

    return make


def _palette(path: Path) -> None:
    Image.fromarray(RGB).quantize(64, dither=Image.Dither.NONE).save(path, "PNG")


def _grey16(values: np.ndarray) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(values.astype(np.uint16)).save(path, "PNG")


def _png16(values: np.ndarray) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(imagecodecs.png_encode(values.astype(np.uint16)))


def _on_white(path: Path) -> None:
    rgba = np.dstack([RGB, np.full((H, W), 255, np.uint8)])
    rgba[1] = 0  # a row that is not there
    Image.fromarray(rgba).save(path, "PNG")


WITHOUT_A_ROW = RGB.copy()
WITHOUT_A_ROW[1] = 255
TILED = np.tile(RGB, (8, 8, 1))
SCALED = RGB.astype(np.float64) / 255

# name: how the file comes about, what it shows, how far a rounding may be off
FILES: dict[str, tuple[Callable[[Path], object], np.ndarray, int]] = {
    "a.png": (saved("PNG"), RGB, 0),
    "optimised.png": (saved("PNG", optimize=True), RGB, 0),
    "a.bmp": (saved("BMP"), RGB, 0),
    "a.ppm": (saved("PPM"), RGB, 0),
    "a.webp": (saved("WEBP", lossless=True), RGB, 0),
    "a.jp2": (saved("JPEG2000"), RGB, 0),
    "a.tif": (saved("TIFF"), RGB, 0),
    "lzw.tif": (saved("TIFF", compression="tiff_lzw"), RGB, 0),
    "deflated.tif": (saved("TIFF", compression="tiff_adobe_deflate"), RGB, 0),
    "a jpeg called.png": (saved("JPEG", quality=100, subsampling=0), RGB, 4),
    "a.jfif": (saved("JPEG", quality=100, subsampling=0), RGB, 4),
    "a.jpe": (saved("JPEG", quality=100, subsampling=0), RGB, 4),
    "progressive.jpg": (saved("JPEG", quality=100, subsampling=0, progressive=True), RGB, 4),
    "grey.png": (lambda p: Image.fromarray(GREY).save(p, "PNG"), GREY_RGB, 0),
    "grey.pgm": (lambda p: Image.fromarray(GREY).save(p, "PPM"), GREY_RGB, 0),
    "palette.png": (_palette, RGB, 0),
    "on white.png": (_on_white, WITHOUT_A_ROW, 0),
    "16 bits.png": (_png16(RGB.astype(np.uint16) * 257), RGB, 0),
    "12 in 16.png": (_png16(np.rint(SCALED * 4095)), RGB, 1),
    "grey of 16 bits.png": (_grey16(GREY.astype(np.uint16) * 257), GREY_RGB, 0),
    "grey, 12 in 16.png": (_grey16(np.rint(GREY / 255 * 4095)), GREY_RGB, 1),
    "grey, 10 in 16.png": (_grey16(np.rint(GREY / 255 * 1023)), GREY_RGB, 1),
    "planar.tif": (
        tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"), RGB, 0
    ),
    "16 bits.tif": (tiff(RGB.astype(np.uint16) * 257, photometric="rgb"), RGB, 0),
    "12 in 16.tif": (tiff(np.rint(SCALED * 4095).astype(np.uint16), photometric="rgb"), RGB, 1),
    "floats.tif": (tiff((GREY / 255).astype(np.float32)), GREY_RGB, 0),
    "floats to 255.tif": (tiff(GREY.astype(np.float32)), GREY_RGB, 0),
    "reflectance.tif": (tiff((GREY / 255 * 1.2).astype(np.float32)), GREY_RGB, 0),
    "big-endian.tif": (tiff(RGB, photometric="rgb", byteorder=">"), RGB, 0),
    "BigTIFF.tif": (tiff(RGB, photometric="rgb", bigtiff=True), RGB, 0),
    "tiled.tif": (tiff(TILED, photometric="rgb", tile=(16, 16)), TILED, 0),
    **{f"exif {n}.png": (turned(n, "PNG"), RGB, 0) for n in TURNS},
    **{f"exif {n}.webp": (turned(n, "WEBP"), RGB, 0) for n in (3, 6, 8)},
    **{f"exif {n}.tif": (turned(n, "TIFF"), RGB, 0) for n in (6, 8)},
}  # fmt: skip

TENSOR = torch.from_numpy(RGB).permute(2, 0, 1)
ARRAYS: dict[str, tuple[Any, dict[str, Any], np.ndarray, int]] = {
    "RGB": (RGB, {}, RGB, 0),
    "RGB in Fortran's order": (np.asfortranarray(RGB), {}, RGB, 0),
    "every other row": (np.repeat(RGB, 2, axis=0)[::2], {}, RGB, 0),
    "read-only": (np.frombuffer(RGB.tobytes(), np.uint8).reshape(H, W, 3), {}, RGB, 0),
    "channels first": (np.moveaxis(RGB, -1, 0), {"channels": "first"}, RGB, 0),
    "grey": (GREY, {}, GREY_RGB, 0),
    "grey with an axis": (GREY[:, :, None], {}, GREY_RGB, 0),
    "RGBA": (np.dstack([RGB, np.full((H, W), 255, np.uint8)]), {}, RGB, 0),
    "uint16": (RGB.astype(np.uint16) * 257, {}, RGB, 0),
    "12 bits in uint16": (np.rint(SCALED * 4095).astype(np.uint16), {}, RGB, 1),
    "a depth": (np.rint(SCALED * 4095).astype(np.uint16), {"depth": 12}, RGB, 1),
    "int64": (RGB.astype(np.int64), {}, RGB, 0),
    "floats to 1": (SCALED, {}, RGB, 0),
    "floats to 255": (RGB.astype(np.float32), {}, RGB, 0),
    "a reflectance": (SCALED * 1.2, {}, RGB, 0),
    "a tensor": (TENSOR, {}, RGB, 0),
    "a tensor, channels last": (TENSOR.permute(1, 2, 0), {"channels": "last"}, RGB, 0),
    "a tensor of floats": (TENSOR / 255, {}, RGB, 0),
    "a tensor of half floats": ((TENSOR / 255).half(), {}, RGB, 1),
    "a PIL image": (Image.fromarray(RGB), {}, RGB, 0),
    "a PIL image with opacity": (Image.fromarray(RGB).convert("RGBA"), {}, RGB, 0),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_shows_what_was_drawn(name: str, tmp_path: Path) -> None:
    make, expected, off = FILES[name]
    path = tmp_path / name
    make(path)
    content = path.read_bytes()
    for source in (path, str(path), content, io.BytesIO(content)):
        found = read_image(source)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= off


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_shows_what_was_drawn(name: str) -> None:
    source, options, expected, off = ARRAYS[name]
    found = read_any(source, **options)
    assert np.abs(found.pixels.astype(int) - expected).max() <= off
    assert found.orientation == 1


def test_pages_and_frames_are_those_that_were_saved(tmp_path: Path) -> None:
    pages = [np.full((H, W, 3), shade, np.uint8) for shade in (10, 20, 30)]
    tifffile.imwrite(tmp_path / "scan.tif", np.stack(pages), photometric="rgb")
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(tmp_path / "frames.gif", save_all=True, append_images=others)
    for name in ("scan.tif", "frames.gif"):
        for number, page in enumerate(pages, 1):
            found = read_any(tmp_path / name, page=number)
            np.testing.assert_array_equal(found.pixels, page)
            assert (found.page, found.num_pages) == (number, 3)
