from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from escnet.inference.figures.sheet import (
    blank_sheet,
    caption,
    cell_size,
    clipped,
    encode_sheet,
    reduced,
    reduced_size,
)


def test_a_sheet_is_a_png_that_any_name_can_stand_on() -> None:
    figure, cells = blank_sheet(2, 3, cell_hw=(1.0, 1.5), title="$x^$ and 道路 \udc80")
    for row in cells:
        for cell in row:
            caption(cell, "$\\frac{$ {} %s 道", beneath="$_")
    image = Image.open(BytesIO(encode_sheet(figure)))
    assert image.format == "PNG"
    assert image.width > image.height


def test_a_sheet_has_a_cell_for_each_row_and_column() -> None:
    _, cells = blank_sheet(2, 3, cell_hw=(1.0, 1.0), title="")
    assert [len(row) for row in cells] == [3, 3]
    _, cells = blank_sheet(1, 1, cell_hw=(1.0, 1.0), title="")
    assert [len(row) for row in cells] == [1]


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        ((40, 60), (40, 60)),
        ((640, 100), (640, 100)),
        ((1280, 640), (640, 320)),
        ((9, 9000), (1, 640)),
    ],
)
def test_a_picture_is_brought_down_never_up(
    size_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert reduced_size(size_hw) == expected
    pixels = np.full((*size_hw, 3), 7, np.uint8)
    found = reduced(pixels)
    assert found.shape == (*expected, 3)
    assert (found == 7).all()


def test_cells_have_the_pictures_shape_and_one_area() -> None:
    height, width = cell_size((400, 600), 6.0)
    assert (height, width) == pytest.approx((2.0, 3.0))
    assert cell_size((1, 1000), 3.0) == pytest.approx((1.0, 3.0))


def test_a_narrow_pictures_cell_leaves_room_for_its_caption() -> None:
    assert cell_size((300, 100), 3.0) == pytest.approx((3.0, 2.4))


def test_long_names_end_in_an_ellipsis() -> None:
    assert clipped("a" * 40) == "a" * 40
    assert clipped("a" * 41) == "a" * 39 + "…"
