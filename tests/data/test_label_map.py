from pathlib import Path

import numpy as np
import pytest
from corpus import drawn, encoded, exif, png, rows_of
from PIL import Image

from escnet.data.label_map import read_label_map
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


def test_an_orientation_is_not_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.array(LABELS, np.uint8))
    assert read(tmp_path, encoded(image, "PNG", exif=exif(6))).tolist() == LABELS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(drawn(), "PNG"), "is a PNG of 8-bit RGB: save it as indexed, or as grey"),
        (encoded(drawn().convert("RGBA"), "PNG"), "is a PNG of 8-bit RGBA"),
        (encoded(drawn().convert("LA"), "PNG"), "is a PNG of 8-bit grey with alpha"),
        (encoded(drawn().convert("1"), "PNG"), "is a PNG of 1-bit grey"),
        (png(b"\0\x1b\x1b\x1b" * 6, depth=2, colour=0), "is a PNG of 2-bit grey"),
        (encoded(drawn(), "JPEG"), r"another format than those read \(PNG\): convert it"),
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
