import logging

import pytest

from escnet.errors import DatasetError
from escnet.training.broken_files import BrokenFiles


def draw(files: BrokenFiles, num_pictures: int, first: int = 0) -> None:
    """So many sound pictures, each once."""
    for row in range(first, first + num_pictures):
        files.count((0, row), {})


def test_a_broken_file_is_logged_once_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    files = BrokenFiles(5000)
    for _ in range(3):
        files.count((0, 1), {(0, 0): "picture a.jpg is damaged: copy it again"})
    files.count((1, 1), {(1, 0): "picture b.jpg is damaged: copy it again"})
    assert len(files) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "left out: picture a.jpg is damaged: copy it again (1 so far)",
        "left out: picture b.jpg is damaged: copy it again (2 so far)",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_one_in_a_hundred_is_borne_and_one_more_is_not() -> None:
    files = BrokenFiles(200)
    files.count((0, 198), {(0, 199): "first", (0, 197): "second"})
    draw(files, 197)  # 2 of 200
    assert len(files) == 2
    with pytest.raises(
        DatasetError,
        match=r"^3 of 200 pictures are broken, more than 1% \(first: first\): prepare the data",
    ):
        files.count((0, 0), {(0, 5): "third"})


def test_there_is_no_verdict_before_all_pictures_of_few_or_a_thousand_of_many_were_drawn() -> None:
    few, many = BrokenFiles(50), BrokenFiles(1_000_000)
    for files, num_pictures in ((few, 50), (many, 1000)):
        files.count((0, 0), {(9, row): "bad" for row in range(20)})
        draw(files, num_pictures - 21)  # picture 0 among them
        with pytest.raises(DatasetError, match=f"20 of {num_pictures} pictures"):
            draw(files, 2, first=num_pictures - 21)


def test_a_picture_that_is_drawn_again_does_not_dilute_the_broken_ones() -> None:
    files = BrokenFiles(100)
    files.count((0, 0), {(0, 98): "bad", (0, 99): "bad"})
    for _ in range(50):
        draw(files, 97)
    with pytest.raises(DatasetError, match="2 of 100"):
        draw(files, 98)


def test_the_same_row_of_another_source_is_another_picture() -> None:
    files = BrokenFiles(5000)
    files.count((0, 3), {(0, 1): "bad", (1, 1): "bad"})
    assert len(files) == 2
