from pathlib import Path

import numpy as np
import pytest
from corpus import drawn, encoded, exif, png, rows_of
from PIL import Image

from escnet.data.label_map import read_coloured_map, read_label_map
from escnet.errors import DatasetError

LABELS = [[0, 1, 254], [7, 7, 255]]


def read(folder: Path, data: bytes) -> np.ndarray:
    path = folder / "labels.png"
    path.write_bytes(data)
    return read_label_map(path)


def test_an_indexed_png_gives_its_indices_whatever_its_palette(tmp_path: Path) -> None:
    image = Image.fromarray(np.array(LABELS, np.uint8))
    image.putpalette(bytes(range(255, -1, -1)) * 3)
    labels = read(tmp_path, encoded(image, "PNG"))
    assert labels.dtype == np.uint8
    assert labels.tolist() == LABELS


def test_a_grey_png_gives_its_values(tmp_path: Path) -> None:
    labels = read(tmp_path, encoded(Image.fromarray(np.array(LABELS, np.uint8)), "PNG"))
    assert labels.dtype == np.uint8
    assert labels.tolist() == LABELS


def test_a_16_bit_grey_png_gives_its_values(tmp_path: Path) -> None:
    values = [[0, 300, 65_535]]
    labels = read(tmp_path, encoded(Image.fromarray(np.array(values, np.uint16)), "PNG"))
    assert labels.dtype == np.uint16
    assert labels.tolist() == values


def test_an_indexed_png_of_two_bits_gives_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    image.putpalette(bytes(12))
    data = encoded(image, "PNG", bits=2)
    assert data[24] == 2
    assert read(tmp_path, data).tolist() == [[0, 1, 2, 3]]


def half_transparent() -> Image.Image:
    grey = Image.new("LA", (2, 1), (1, 255))
    grey.putpixel((0, 0), (1, 128))
    return grey


@pytest.mark.parametrize(
    ("depth", "row", "labels"),
    [(1, b"\0\xa0", [1, 0, 1, 0]), (2, b"\0\x1b", [0, 1, 2, 3]), (4, b"\0\x12\x3f", [1, 2, 3, 15])],
)
def test_grey_of_few_bits_gives_its_values_and_not_shades(
    depth: int, row: bytes, labels: list[int], tmp_path: Path
) -> None:
    found = read(tmp_path, png(row, width=4, height=1, depth=depth, colour=0))
    assert found.dtype == np.uint8
    assert found.tolist() == [labels]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_of_equal_channels_are_labels(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.array(LABELS, np.uint8)).convert(mode)
    assert read(tmp_path, encoded(image, "PNG")).tolist() == LABELS


@pytest.mark.parametrize("kind", ["TIFF", "BMP"])
def test_other_formats_without_loss_give_their_values(kind: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.array(LABELS, np.uint8))
    assert read(tmp_path, encoded(image, kind)).tolist() == LABELS


def test_a_16_bit_tiff_gives_its_values(tmp_path: Path) -> None:
    labels = read(tmp_path, encoded(Image.fromarray(np.array([[0, 846]], np.uint16)), "TIFF"))
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[0, 846]]


def coloured(folder: Path, data: bytes) -> list[list[int]]:
    path = folder / "labels.png"
    path.write_bytes(data)
    table = {(0, 0, 0): 0, (48, 112, 32): 1, (176, 112, 32): 7}
    return read_coloured_map(path, table, table_shown="labelmap.txt").tolist()


def test_listed_colours_are_their_labels(tmp_path: Path) -> None:
    pixels = np.array([[(176, 112, 32), (0, 0, 0), (48, 112, 32)]], np.uint8)
    assert coloured(tmp_path, encoded(Image.fromarray(pixels), "PNG")) == [[7, 0, 1]]


def test_an_indexed_file_goes_by_its_palettes_colours_and_255_is_an_outline(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 255]], np.uint8))
    image.putpalette([176, 112, 32, 0, 0, 0] + 253 * [9, 9, 9] + [224, 224, 192])
    assert coloured(tmp_path, encoded(image, "PNG")) == [[7, 0, 255]]


def test_a_colour_that_is_not_listed_is_named_with_its_share(tmp_path: Path) -> None:
    pixels = np.array([[(0, 0, 0), (47, 112, 32), (0, 0, 0), (0, 0, 0)]], np.uint8)
    with pytest.raises(
        DatasetError, match=r"1 colour \(47,112,32\) that labelmap.txt lacks, in 25 %"
    ):
        coloured(tmp_path, encoded(Image.fromarray(pixels), "PNG"))


def test_an_orientation_is_not_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.array(LABELS, np.uint8))
    assert read(tmp_path, encoded(image, "PNG", exif=exif(6))).tolist() == LABELS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(drawn(), "PNG"), r"holds \d+ colours \(.*\), not labels: list the class of each"),
        (encoded(drawn().convert("RGBA"), "PNG"), r"holds \d+ colours"),
        (encoded(half_transparent(), "PNG"), "is transparent in places"),
        (encoded(drawn(), "GIF"), r"another format than those read \(PNG, TIFF, BMP, JPEG\)"),
        (encoded(drawn().convert("L"), "PNG")[:70], "is cut off, damaged"),
        (b"", "is empty"),
        (png(rows_of(np.zeros((1, 1), np.uint8)), width=60_000, height=60_000), "megapixels"),
    ],
)
def test_what_holds_no_labels_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"label map .*labels\.png .*{message}"):
        read(tmp_path, data)


def test_a_missing_label_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"label map .*none\.png does not exist"):
        read_label_map(tmp_path / "none.png")
