import numpy as np
import pytest
import torch

from escnet.inference.exported.rejection import left_names, likely_names, standing
from escnet.model.pruning import Rejection
from escnet.model.pruning import likely_names as likely_by_torch
from escnet.model.pruning import standing as standing_by_torch


def noise(num_names: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_names, 4, 5)).astype(np.float32)


def test_the_standing_is_that_of_the_network() -> None:
    maps = noise(9)
    maps[3] = maps[2]  # two that are the best of the same patches
    expected = standing_by_torch(torch.from_numpy(maps)[None])[0].numpy()
    np.testing.assert_allclose(standing(maps), expected, rtol=1e-6)


@pytest.mark.parametrize("owner", [list(range(12)), [0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 7]])
@pytest.mark.parametrize("most", [1, 3, 5])
def test_the_labels_that_are_left_are_those_of_the_networks_first_look(
    owner: list[int], most: int
) -> None:
    maps = noise(12, seed=most)
    rejection = Rejection((most,), owner)
    every = torch.arange(12)[None]
    survivors = rejection.survivors(0, torch.from_numpy(maps)[None], every)[0].tolist()
    labels = {owner[name] for name in (survivors[row] for row in rejection.whole(survivors))}
    left = left_names(maps, owner, most)
    assert len({owner[name] for name in left}) == most
    assert {owner[name] for name in left} <= labels or labels <= {owner[name] for name in left}
    assert left == [name for name in range(12) if owner[name] in {owner[one] for one in left}]


def test_few_labels_are_all_left() -> None:
    assert left_names(noise(3), [0, 0, 1], 2) == [0, 1, 2]


@pytest.mark.parametrize("most", [0, 2, 7, 8, 100])
def test_the_likely_names_are_those_of_the_network(most: int) -> None:
    maps = noise(8)
    peak = torch.from_numpy(maps).amax(dim=(1, 2))[None]
    assert likely_names(maps, most) == likely_by_torch(peak, most)[0].tolist()
