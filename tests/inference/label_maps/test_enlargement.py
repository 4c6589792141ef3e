import numpy as np
import pytest
import torch
import torch.nn.functional as F

from escnet.inference.label_maps.enlargement import Axis, Enlargement, enlarged

SIZES = [
    ((1, 1), (6, 6)),
    ((5, 7), (5, 7)),
    ((5, 7), (13, 7)),
    ((5, 7), (5, 29)),
    ((5, 7), (100, 200)),
    ((40, 30), (8, 3)),
]


def noise(size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=size_hw).astype(np.float32)


@pytest.mark.parametrize(("size_hw", "larger_hw"), SIZES)
def test_maps_are_brought_to_a_size_as_torch_does_it(
    size_hw: tuple[int, int], larger_hw: tuple[int, int]
) -> None:
    values = noise(size_hw)
    maps = torch.from_numpy(values)[None, None]
    expected = F.interpolate(maps, size=larger_hw, mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(enlarged(values, larger_hw), expected, atol=2e-6)
    assert (values == noise(size_hw)).all()


def test_the_places_of_a_hand_computed_axis() -> None:
    # Centres of four pixels lie at -1/4, 1/4, 3/4 and 5/4 of the two old ones.
    low, high, share = Axis.of(2, 4)
    assert (low.tolist(), high.tolist()) == ([0, 0, 0, 1], [0, 1, 1, 1])
    assert share.tolist() == [0.0, 0.25, 0.75, 0.0]


@pytest.mark.parametrize(("size_hw", "larger_hw"), SIZES)
def test_some_rows_need_only_their_source(
    size_hw: tuple[int, int], larger_hw: tuple[int, int]
) -> None:
    values, whole = noise(size_hw), enlarged(noise(size_hw), larger_hw)
    enlargement = Enlargement(size_hw, larger_hw)
    for top in range(larger_hw[0]):
        rows = slice(top, min(top + 2, larger_hw[0]))
        part = values[enlargement.source(rows)]
        assert (enlargement.rows(part, rows) == whole[rows]).all()
