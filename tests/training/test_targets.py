"""Which names a picture is trained on, and what its pixels say of them."""

import numpy as np
import torch

from escnet.training.targets import (
    NONE_OF_THEM,
    UNKNOWN,
    names_in,
    some_names,
    target_of_names,
)


def chosen(shown: list[int], annotated: list[int], most_names: int, seed: int = 0) -> list[int]:
    return some_names(shown, annotated, most_names, np.random.default_rng(seed)).tolist()


def test_a_picture_is_asked_for_what_it_shows_and_for_others_of_its_source() -> None:
    for seed in range(20):
        names = chosen([3, 8], [*range(2, 12)], 5, seed)
        assert len(set(names)) == 5
        assert {3, 8} <= set(names) <= set(range(2, 12))
        assert names == sorted(names)


def test_others_differ_from_picture_to_picture_but_not_from_run_to_run() -> None:
    names = [chosen([1], [*range(50)], 6, seed) for seed in range(9)]
    assert len({tuple(one) for one in names}) == 9
    assert names == [chosen([1], [*range(50)], 6, seed) for seed in range(9)]


def test_of_too_many_shown_names_some_are_asked() -> None:
    assert len(set(chosen([*range(10)], [*range(10)], 4))) == 4


def test_a_source_with_few_names_has_few() -> None:
    assert chosen([1], [1, 2], 24) == [1, 2]


def test_what_is_shown_is_named_once_and_in_order() -> None:
    target = torch.tensor([[5, NONE_OF_THEM], [2, 5], [UNKNOWN, 2]])
    assert names_in(target).tolist() == [2, 5]


def test_a_target_of_some_names_by_hand() -> None:
    target = torch.tensor([[[0, 1, 3], [UNKNOWN, NONE_OF_THEM, 3]]])
    some = target_of_names(target, np.array([3, 0]), 4)
    assert some.tolist() == [[[1, NONE_OF_THEM, 0], [UNKNOWN, NONE_OF_THEM, 0]]]
    assert target.tolist()[0][0] == [0, 1, 3]  # as it was
