import pytest

from escnet.model.chunks import class_chunks


def test_without_a_size_there_is_one_slice_without_an_end() -> None:
    assert list(class_chunks(7, None)) == [slice(None)]


def test_seven_names_by_three_are_three_slices() -> None:
    assert list(class_chunks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 9)]


@pytest.mark.parametrize("class_chunk", [1, 2, 5, 6, 100, None])
def test_the_slices_cover_every_name_once(class_chunk: int | None) -> None:
    names = list(range(6))
    chunks = [names[chunk] for chunk in class_chunks(6, class_chunk)]
    assert [name for chunk in chunks for name in chunk] == names
    assert all(0 < len(chunk) <= (class_chunk or 6) for chunk in chunks)
