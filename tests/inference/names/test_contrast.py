import numpy as np
import pytest

from escnet.inference.names.contrast import (
    Contrast,
    contrast_to,
    everyday_groups,
    everyday_names,
)

EVERYDAY = everyday_names()
# Each contrast name has an axis of its own, and one is left for whatever is none of them.
EMBEDDING = np.eye(len(EVERYDAY), len(EVERYDAY) + 1, dtype=np.float32)
NOWHERE = np.eye(len(EVERYDAY) + 1, dtype=np.float32)[-1]


def contrast_of(*queries: str, near: dict[str, tuple[str, float]] | None = None) -> Contrast:
    """To names, of which some are near a contrast name by this cosine."""
    embedding = np.stack([_embedding(query, (near or {}).get(query)) for query in queries])
    return contrast_to(queries, embedding, EMBEDDING, relative_from=0.62, same_from=0.75)


def _embedding(query: str, near: tuple[str, float] | None) -> np.ndarray:
    name, cosine = near or (query, 1.0)
    own = EMBEDDING[EVERYDAY.index(name)] if name in EVERYDAY else NOWHERE
    return (3 * (cosine * own + (1 - cosine**2) ** 0.5 * NOWHERE)).astype(np.float32)


def left_out(contrast: Contrast) -> set[str]:
    return set(EVERYDAY) - set(contrast.names)


def test_no_contrast_name_stands_twice_and_there_are_many() -> None:
    assert len(set(EVERYDAY)) == len(EVERYDAY) > 100
    assert {group.surface for group in everyday_groups()} > {"sky", "ground", "wall", "water"}


def test_names_that_have_nothing_to_do_with_the_list_leave_it_whole() -> None:
    contrast = contrast_of("valve", "dandelion")
    assert contrast.names == EVERYDAY
    assert (contrast.embedding == EMBEDDING).all()
    assert contrast.num_surfaces == 0


def test_a_name_and_what_is_near_it_are_left_out_and_its_neighbours_stay() -> None:
    near = {"puppy": ("dog", 0.7), "lorry": ("truck", 0.6)}
    assert left_out(contrast_of("puppy", "lorry", "cat", near=near)) == {"dog", "cat"}


@pytest.mark.parametrize(
    ("query", "gone", "stays"),
    [
        ("animal", {"dog", "horse", "bird"}, "person"),  # the whole of its kinds
        ("Animals", {"dog", "horse", "bird"}, "person"),
        ("face", {"person"}, "car"),  # a part
        ("person", {"person", "clothes"}, "dog"),  # the whole of its parts
        ("dishes", {"cup", "plate"}, "table"),
        ("sign_symbol", {"traffic sign"}, "car"),
    ],
)
def test_kinds_parts_and_wholes_of_a_name_are_left_out(
    query: str, gone: set[str], stays: str
) -> None:
    contrast = contrast_of(query)
    assert gone <= left_out(contrast)
    assert stays in contrast.names


def test_kinds_of_stuff_that_fill_pictures_are_counted_once_each() -> None:
    near = {"asphalt": ("road", 0.8), "boat": ("sea", 0.7)}
    contrast = contrast_of("asphalt", "road", "boat", "sky", "ground", near=near)
    assert contrast.num_surfaces == 2
    assert "sea" in left_out(contrast)  # near enough to take pixels, and not the same


def test_names_of_groups_are_no_words_of_another_surface_by_accident() -> None:
    for group in everyday_groups():
        if group.surface:
            assert contrast_of(group.names[0]).num_surfaces == 1, group.names[0]
