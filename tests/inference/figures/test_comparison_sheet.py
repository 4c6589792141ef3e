from io import BytesIO

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from escnet.annotations.palette import name_colours
from escnet.inference.figures.comparison import ComparedModel, ComparedPicture
from escnet.inference.figures.comparison_sheet import draw_comparison, measured

NAMES = ["cup", "$table$", "cat"]


def cell(label: int, peak_gpu_memory: int | None = None) -> ComparedPicture:
    return ComparedPicture(
        labels=np.full((20, 30), label, np.uint8),
        seconds=0.1234,
        peak_memory=1_234_567_890,
        numbers={"peak_gpu_memory": peak_gpu_memory},
    )


def column(*labels: int) -> ComparedModel:
    return ComparedModel(
        model="mini",
        method="esc-net",
        weights_hash="",
        settings={},
        load_seconds=1.0,
        peak_memory=None,
        pictures=tuple(cell(label) for label in labels),
    )


def drawn(num_pictures: int, *columns: ComparedModel, first: int = 0) -> UInt8[np.ndarray, "H W 3"]:
    pictures = [np.full((20, 30, 3), 255, np.uint8)] * num_pictures
    titles = ["$x"] * num_pictures
    content = draw_comparison(pictures, titles, columns, NAMES, first=first)
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def shares(sheet: UInt8[np.ndarray, "H W 3"]) -> list[float]:
    """How much of the sheet each class's colour takes, in the legend or washed over white."""
    found = []
    for colour in name_colours(NAMES).astype(int):
        washed = np.rint(255 + 0.55 * (colour - 255))
        near = (np.abs(sheet - washed) <= 2).all(axis=2) | (sheet == colour).all(axis=2)
        found.append(float(near.mean()))
    return found


def test_a_row_for_each_picture_and_a_column_for_each_model() -> None:
    small = drawn(1, column(0, 0))
    assert drawn(2, column(0, 0)).shape[0] > 1.5 * small.shape[0]
    assert drawn(1, column(0, 0), column(0, 0)).shape[1] > 1.4 * small.shape[1]


def test_only_what_won_is_in_the_sheet_and_its_legend() -> None:
    cup, table, cat = shares(drawn(1, column(0), column(2)))
    assert cup > 0.1
    assert cat > 0.1
    assert table == 0


def test_a_further_sheet_begins_with_its_own_pictures() -> None:
    first, later = column(0, 1), shares(drawn(1, column(0, 1), first=1))
    assert shares(drawn(1, first))[0] > 0.1
    assert later[0] == 0
    assert later[1] > 0.1


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [(None, "0.12 s, 1,235 MB"), (2_000_000_000, "0.12 s, 1,235 MB, 2,000 MB of the GPU")],
)
def test_time_and_memory_for_people(gpu: int | None, expected: str) -> None:
    assert measured(cell(0, gpu)) == expected
