"""Class-agnostic masks and their classes."""

import torch

from escnet.inference.proposals import classified, stability, without_repetitions


def test_a_mask_whose_size_hangs_on_the_threshold_is_unstable() -> None:
    logits = torch.tensor([[[5.0, 5.0, -5.0, -5.0]], [[5.0, 0.5, 0.5, -0.5]], [[-5.0] * 4]])
    assert stability(logits).tolist() == [1.0, 0.25, 0.0]


def test_of_repetitions_the_best_stays() -> None:
    masks = torch.tensor([[[1, 1, 1, 0]], [[1, 1, 1, 1]], [[0, 0, 0, 1]]]).bool()
    assert without_repetitions(masks, torch.tensor([0.9, 0.95, 0.8])) == [1, 2]


def test_a_region_has_the_mean_of_the_maps_inside() -> None:
    maps = torch.tensor([[[1.0, 3.0, 5.0, 7.0]], [[0.0, 0.0, 1.0, 1.0]]])
    masks = torch.tensor([[[1, 1, 0, 0]]]).bool()
    found = classified(maps, masks, torch.tensor([0.9]))
    torch.testing.assert_close(
        found, torch.tensor([[[2.0, 2.0, 6.0, 6.0]], [[0.0, 0.0, 1.0, 1.0]]])
    )


def test_where_masks_overlap_the_better_one_counts_more() -> None:
    maps = torch.tensor([[[0.0, 4.0]]])
    masks = torch.tensor([[[1, 0]], [[1, 1]]]).bool()
    found = classified(maps, masks, torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(found, torch.tensor([[[0.5, 2.0]]]))
