from pathlib import Path

import numpy as np
import pytest
from corpus import (
    CORPUS,
    Expected,
    drawn,
    encoded,
    exif,
    floats,
    frames,
    grey16,
    palette_picture,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escnet.data.image import image_size_hw, read_image
from escnet.errors import ImageError


def test_the_corpus_has_at_least_sixty_files(hostile_corpus: dict[Path, Expected]) -> None:
    assert len(hostile_corpus) >= 60
    assert sum(expected.reads for expected in hostile_corpus.values()) >= 30
    assert sum(not expected.reads for expected in hostile_corpus.values()) >= 30


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_ends_in_a_picture_or_in_one_clear_line(
    name: str, hostile_corpus: dict[Path, Expected]
) -> None:
    path, expected = next((p, e) for p, e in hostile_corpus.items() if p.name == name)
    if expected.size_hw is not None:
        picture = read_image(path)
        assert picture.shape == (*expected.size_hw, 3)
        assert picture.dtype == np.uint8
        assert image_size_hw(path) == expected.size_hw
    else:
        with pytest.raises(ImageError) as caught:
            read_image(path)
        message = str(caught.value)
        assert expected.message in message
        assert message.isprintable()  # so it is one line
        assert repr(path.name)[1:-1] in message
        assert ": " in message  # what is wrong, and the way out


SEEDS = [
    encoded(drawn(), "JPEG", exif=exif(6)),
    encoded(drawn(), "PNG", exif=exif(6)),
    encoded(palette_picture(), "PNG", transparency=bytes(16)),
    encoded(grey16(), "PNG"),
    frames("GIF"),
    frames("WEBP"),
    encoded(palette_picture(), "BMP"),
    encoded(drawn(), "TIFF", exif=exif(6)),
    encoded(drawn(), "TIFF", compression="tiff_lzw"),
    encoded(floats(), "TIFF"),
]


@settings(
    derandomize=True,
    deadline=None,
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), min_size=1, max_size=5),
    keep=st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.5]),
)
def test_a_picture_with_random_damage_ends_in_a_picture_or_in_one_clear_line(
    tmp_path: Path, seed: bytes, changes: list[tuple[float, bytes]], keep: float
) -> None:
    data = bytearray(seed)
    for position, new in changes:
        start = int(position**2 * len(data))  # mostly in the header
        data[start : start + max(len(new), 1)] = new  # an empty change takes a byte out
    path = tmp_path / "damaged"
    path.write_bytes(data[: int(keep * len(data))])
    message = ""
    try:
        assert read_image(path, max_pixels=10**6).size
        assert all(image_size_hw(path, max_pixels=10**6))
    except ImageError as error:
        message = str(error)
    assert message.isprintable()
