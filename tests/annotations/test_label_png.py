import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.annotations import label_png
from escnet.annotations.label_png import (
    encode_label_png,
    label_png_strips,
    read_label_png,
    write_label_png,
)
from escnet.annotations.palette import class_colours
from escnet.errors import DatasetError

LABELS = np.array([[0, 1, 1], [2, 255, 0]], dtype=np.uint8)
NAMES = ["sky", "Straße", 'a "quoted", 道']


def test_any_png_reader_finds_indices_colours_and_names(tmp_path: Path) -> None:
    write_label_png(tmp_path / "a.png", LABELS, NAMES, void_label=255)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), LABELS)
        assert json.loads(image.info["escnet:names"]) == NAMES
        colours = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(colours[0, 1], class_colours(2)[1])
    np.testing.assert_array_equal(colours[1, 1], [0, 0, 0])


def test_254_names_still_fit_into_8_bits(tmp_path: Path) -> None:
    names = [f"thing {i}" for i in range(254)]
    labels = np.array([[0, 253, 255]], dtype=np.uint8)
    write_label_png(tmp_path / "a.png", labels, names, void_label=255)
    back, names_back = read_label_png(tmp_path / "a.png")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, labels)
    assert names_back == tuple(names)


def test_255_names_make_a_16_bit_grey_file(tmp_path: Path) -> None:
    names = [f"thing {i}" for i in range(255)]
    labels = np.array([[0, 254, 255, 65535]], dtype=np.uint16)
    write_label_png(tmp_path / "a.png", labels, names, void_label=65535)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), labels)
    assert (tmp_path / "a.png").read_bytes()[24:26] == b"\x10\x00"  # bit depth 16, colour type grey
    assert read_label_png(tmp_path / "a.png")[0].dtype == np.uint16


@pytest.mark.parametrize("num_names", [7, 300])
def test_strips_of_any_height_make_one_label_map(
    num_names: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    void = 255 if num_names < 255 else 65_535
    labels = np.random.default_rng(0).integers(0, num_names, (11, 5)).astype(np.uint16)
    labels[3, 2:4] = void
    labels = labels.astype(np.uint8 if num_names < 255 else np.uint16)
    names = [f"thing {i}" for i in range(num_names)]
    for pixels in (1, 15, 55):  # strips of one row, of three with a rest, of all
        monkeypatch.setattr(label_png, "_STRIP_PIXELS", pixels)
        write_label_png(tmp_path / "a.png", labels, names, void_label=void)
        back, _ = read_label_png(tmp_path / "a.png")
        assert back.dtype == labels.dtype
        np.testing.assert_array_equal(back, labels)


def test_no_strip_holds_more_than_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_png, "_STRIP_PIXELS", 64 * 1024)
    noise = np.random.default_rng(0).integers(0, 254, (1024, 1024), np.uint8)  # nothing to pack
    strips = list(label_png_strips(noise, ["a"] * 254, void_label=255))
    assert max(map(len, strips)) < 3 * 64 * 1024
    assert b"".join(strips) == encode_label_png(noise, ["a"] * 254, void_label=255)


def test_as_many_names_as_there_can_be_are_read_back(tmp_path: Path) -> None:
    names = [f"a name of some length, number {i}" for i in range(65_534)]
    labels = np.array([[65_533]], dtype=np.uint16)
    write_label_png(tmp_path / "a.png", labels, names, void_label=65535)
    assert read_label_png(tmp_path / "a.png")[1][-1] == names[-1]


def test_a_name_that_is_not_valid_unicode_survives(tmp_path: Path) -> None:
    write_label_png(tmp_path / "a.png", LABELS, ["a", "b", "c\udc80"], void_label=255)
    assert read_label_png(tmp_path / "a.png")[1] == ("a", "b", "c\udc80")


def test_the_same_label_map_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_label_png(tmp_path / name, LABELS, NAMES, void_label=255)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_reading_what_is_no_label_map_of_ours_is_one_line(tmp_path: Path) -> None:
    write_label_png(tmp_path / "ours.png", LABELS, NAMES, void_label=255)
    whole = (tmp_path / "ours.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) - 30])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    Image.new("L", (2, 2)).save(tmp_path / "grey.png")
    for name in ("cut", "text", "empty", "rgb", "grey", "absent"):
        with pytest.raises(DatasetError, match=f"{name}.png") as caught:
            read_label_png(tmp_path / f"{name}.png")
        assert "\n" not in str(caught.value)
