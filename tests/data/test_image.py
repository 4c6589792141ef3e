import io
import os
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from corpus import adam7, drawn, encoded, exif, frames, png, rows_of, tiff_rgb16
from PIL import Image

from escnet.data.image import (
    _largest_for_pillow,
    image_size_hw,
    read_image,
)
from escnet.errors import ImageError

RGB = np.asarray(drawn())


def read_bytes(folder: Path, data: bytes) -> np.ndarray:
    path = folder / "picture"
    path.write_bytes(data)
    return read_image(path)


def read_saved(
    folder: Path, image: Image.Image, kind: str = "PNG", **options: object
) -> np.ndarray:
    return read_bytes(folder, encoded(image, kind, **options))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_a_lossless_file_is_read_exactly(kind: str, tmp_path: Path) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read_saved(tmp_path, drawn(), kind, **options), RGB)


def test_an_interlaced_png_is_read_exactly(tmp_path: Path) -> None:
    data = png(adam7(RGB), interlaced=True)
    np.testing.assert_array_equal(read_bytes(tmp_path, data), RGB)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_read(kind: str, tmp_path: Path) -> None:
    first = read_bytes(tmp_path, frames(kind)).astype(int)
    assert np.abs(first - RGB).max() <= 25  # GIF has few colours


# What is seen, as rows of letters, when the stored picture is "ab / cd / ef".
DISPLAYED = {
    1: ["ab", "cd", "ef"],
    2: ["ba", "dc", "fe"],
    3: ["fe", "dc", "ba"],
    4: ["ef", "cd", "ab"],
    5: ["ace", "bdf"],
    6: ["eca", "fdb"],
    7: ["fdb", "eca"],
    8: ["bdf", "ace"],
}


def lettered(rows: list[str]) -> np.ndarray:
    grey = np.array([[40 * (ord(letter) - ord("a")) for letter in row] for row in rows], np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", DISPLAYED)
def test_a_picture_is_turned_as_it_is_displayed(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = Image.fromarray(lettered(DISPLAYED[1]))
    picture = read_saved(tmp_path, stored, kind, exif=exif(orientation), **options)
    np.testing.assert_array_equal(picture, lettered(DISPLAYED[orientation]))
    assert image_size_hw(tmp_path / "picture") == picture.shape[:2]


def test_a_pillow_image_is_turned_like_its_file() -> None:
    data = io.BytesIO(encoded(Image.fromarray(lettered(DISPLAYED[1])), "PNG", exif=exif(6)))
    with Image.open(data) as image:
        np.testing.assert_array_equal(read_image(image), lettered(DISPLAYED[6]))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 0, 0], [200, 100, 0, 255], [200, 100, 0, 51]]], np.uint8)
    expected = [[[255, 255, 255], [200, 100, 0], [244, 224, 204]]]  # 0.2 c + 0.8 * 255
    np.testing.assert_array_equal(read_saved(tmp_path, Image.fromarray(pixels)), expected)
    np.testing.assert_array_equal(read_image(pixels), expected)


def test_a_transparent_palette_entry_becomes_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    for transparency in (0, b"\x00\xff"):
        picture = read_saved(tmp_path, image, transparency=transparency)
        np.testing.assert_array_equal(picture, [[[255, 255, 255], [40, 50, 60]]])


def test_grey_with_alpha_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 51)])
    np.testing.assert_array_equal(read_saved(tmp_path, image), [[[224, 224, 224]]])


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
def test_16_bit_grey_is_divided_by_257_and_rounded(kind: str, mode: str, tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 40_000, 65_535]], ">u2" if mode == "I;16B" else "<u2")
    picture = read_saved(tmp_path, Image.frombytes(mode, (6, 1), values.tobytes()), kind)
    assert picture[0, :, 1].tolist() == [0, 0, 1, 1, 156, 255]
    assert (picture == picture[:, :, :1]).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_colour_of_full_range_is_as_8_bit(order: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_bytes(tmp_path, tiff_rgb16(order)), RGB)
    data = png(rows_of(RGB.astype(np.uint16) * 257), depth=16)
    np.testing.assert_array_equal(read_bytes(tmp_path, data), RGB)


def test_floats_below_zero_are_stretched_from_their_smallest_to_their_largest(
    tmp_path: Path,
) -> None:
    values = np.array([[-1.0, 0.0, 4.0, np.nan, np.inf, -np.inf]], np.float32)
    picture = read_saved(tmp_path, Image.fromarray(values), "TIFF")
    assert picture[0, :, 0].tolist() == [0, 51, 255, 0, 255, 0]


def test_a_signalling_nan_is_black_like_any_other(tmp_path: Path) -> None:
    bits = np.array([[0x7F800001, 0x3F800000, 0]], np.uint32)  # NaN, 1, 0
    image = Image.frombytes("F", (3, 1), bits.tobytes())
    assert read_saved(tmp_path, image, "TIFF")[0, :, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0), (np.nan, 0), (0.7, 178), (-4.0, 0)])
def test_a_flat_float_picture_is_as_bright_as_its_share_of_one(
    value: float, expected: int, tmp_path: Path
) -> None:
    values = np.full((2, 2), value, np.float32)
    assert (read_saved(tmp_path, Image.fromarray(values), "TIFF") == expected).all()


def test_integers_below_zero_are_stretched_too(tmp_path: Path) -> None:
    values = np.array([[-100_000, 0, 150_000]], np.int32)
    picture = read_saved(tmp_path, Image.fromarray(values), "TIFF")
    assert picture[0, :, 2].tolist() == [0, 102, 255]


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert read_saved(tmp_path, image)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_cmyk_becomes_the_colours_it_prints(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert read_saved(tmp_path, image, "TIFF")[4, 4].tolist() == [255, 0, 0]
    assert read_saved(tmp_path, image, "JPEG")[4, 4] == pytest.approx([255, 0, 0], abs=4)


def test_a_grey_array_becomes_rgb() -> None:
    np.testing.assert_array_equal(
        read_image(np.array([[1, 2]], np.uint8)), [[[1, 1, 1], [2, 2, 2]]]
    )


def test_an_rgb_array_is_taken_as_it_is() -> None:
    assert read_image(RGB) is RGB
    assert read_image(RGB[:, ::-1]).flags.c_contiguous


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2, 3), bool), np.zeros(4, np.uint8)]
    + [np.zeros(shape, np.uint8) for shape in [(2, 2, 2), (1, 2, 2, 3), (3, 2, 2)]],
)
def test_another_array_is_refused_with_its_dtype_and_shape(array: np.ndarray) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(array)
    assert f"has dtype {array.dtype} and shape {array.shape}: " in str(caught.value)


def test_a_side_of_zero_pixels_is_refused() -> None:
    for source in (np.zeros((0, 5, 3), np.uint8), Image.new("RGB", (5, 0))):
        with pytest.raises(ImageError, match="is 5 x 0 pixels: it needs at least one"):
            read_image(source)


def test_the_limit_holds_for_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    drawn().save(path)
    for source in (path, str(path), drawn(), RGB):
        assert read_image(source, max_pixels=54).shape == (6, 9, 3)
        with pytest.raises(ImageError, match=r"0\.000054 megapixels, above the limit of 0\.000053"):
            read_image(source, max_pixels=53)


def test_pillows_own_limit_gives_way_and_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.png"
    drawn().save(path)
    for limit in (10, 40, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(path).shape == (6, 9, 3)
        with pytest.raises(ImageError, match="megapixels, above the limit"):
            read_image(path, max_pixels=20)
        assert limit == Image.MAX_IMAGE_PIXELS


def test_pillows_own_limit_is_never_tightened_for_other_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for max_pixels, limit in ((5, 100), (500, 500)):
        with _largest_for_pillow(max_pixels):
            assert limit == Image.MAX_IMAGE_PIXELS


def test_warnings_are_as_before_after_many_threads_have_read(
    hostile_corpus: dict[Path, object],
) -> None:
    before = list(warnings.filters)

    def read_all() -> None:
        for path in list(hostile_corpus)[::4]:
            try:
                read_image(path)
            except ImageError:
                continue

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_a_missing_file_is_named() -> None:
    for name in ("no/such/picture.png", "a\0b.png", "n" * 300):
        with pytest.raises(ImageError, match=r"does not exist|cannot be read") as caught:
            read_image(name)
        assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    drawn().save(path)
    path.chmod(0)
    with pytest.raises(ImageError, match=r"p\.png cannot be read \(Permission denied\)"):
        read_image(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take UTF-8 names only")
def test_a_name_that_is_not_utf_8_is_read_and_shown(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.png")
    drawn().save(path)
    np.testing.assert_array_equal(read_image(path), RGB)
    path.write_bytes(b"text")
    with pytest.raises(ImageError, match=r"\\udcff\.png") as caught:
        read_image(path)
    assert str(caught.value).isprintable()
