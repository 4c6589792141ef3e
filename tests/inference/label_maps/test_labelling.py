from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.errors import WeightsError
from escnet.inference.label_maps import labelling
from escnet.inference.label_maps.labelling import (
    bilinear_matrix,
    label_pixels,
    merge_queries,
    share_shift,
)

SIZE_HW = (13, 29)  # of the picture


def noise(num_queries: int, seed: int = 0) -> Tensor:
    return torch.randn(num_queries, 5, 7, generator=torch.Generator().manual_seed(seed))


def enlarged(logits: Tensor) -> Tensor:
    return F.interpolate(logits[None], size=SIZE_HW, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize(("size", "larger"), [(1, 1), (1, 6), (5, 5), (5, 13), (7, 100), (8, 3)])
def test_the_matrix_interpolates_as_torch_does(size: int, larger: int) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(values[None, None], size=larger, mode="linear", align_corners=False)
    torch.testing.assert_close(bilinear_matrix(size, larger) @ values, expected[0, 0])


def test_the_matrix_of_a_hand_computed_case() -> None:
    # Centres of four pixels lie at -1/4, 1/4, 3/4 and 5/4 of the two old ones.
    expected = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]])
    torch.testing.assert_close(bilinear_matrix(2, 4), expected)


def test_a_hand_computed_map_of_two_by_two() -> None:
    logits = torch.tensor([[[2.0, -1.0], [0.0, 3.0]], [[1.0, 1.0], [-2.0, 4.0]]])
    label_map, confidence = label_pixels(logits, [0, 1], 2, (2, 2))
    assert label_map.tolist() == [[0, 1], [0, 1]]
    expected = 1 / (1 + np.exp(-np.array([[2.0, 1.0], [0.0, 4.0]])))
    np.testing.assert_allclose(confidence, expected, rtol=1e-3)


def test_the_labels_are_those_of_the_enlarged_logits() -> None:
    logits = noise(4)
    label_map, confidence = label_pixels(logits, [0, 1, 2, 3], 4, SIZE_HW)
    best, winner = enlarged(logits).max(dim=0)
    assert (label_map == winner.numpy()).all()
    np.testing.assert_allclose(confidence, best.sigmoid().numpy(), rtol=1e-3)
    assert set(np.unique(label_map)) == {0, 1, 2, 3}


@pytest.mark.parametrize("most_values", [1, 4 * 29, 4 * 29 * 5])
@pytest.mark.parametrize("fewest_rows", [1, 2, 16])
@pytest.mark.parametrize(
    "options",
    [
        {"void_below": 0.6, "background": True, "share_prior": 2.0},
        {"background": True, "share_prior": 0.5},
        {"share_prior": 2.0},
        {"background": True},
        {},
    ],
)
def test_bands_of_any_height_and_labels_by_turns_give_what_one_piece_gives(
    monkeypatch: pytest.MonkeyPatch, most_values: int, fewest_rows: int, options: dict[str, Any]
) -> None:
    whole = label_pixels(noise(4), [0, 1, 1, 2], 3, SIZE_HW, **options)
    monkeypatch.setattr(labelling, "_MOST_VALUES", most_values)
    monkeypatch.setattr(labelling, "_FEWEST_ROWS", fewest_rows)
    banded = label_pixels(noise(4), [0, 1, 1, 2], 3, SIZE_HW, **options)
    assert (banded[0] == whole[0]).all()
    assert (banded[1] == whole[1]).all()


def test_a_label_takes_the_highest_of_its_queries() -> None:
    logits = noise(5)
    owner = [1, 0, 1, 2, 0]
    merged = torch.stack([logits[[1, 4]].amax(0), logits[[0, 2]].amax(0), logits[3]])
    found = label_pixels(logits, owner, 3, SIZE_HW)
    expected = label_pixels(merged, [0, 1, 2], 3, SIZE_HW)
    assert (found[0] == expected[0]).all()
    assert (found[1] == expected[1]).all()


@pytest.mark.parametrize("background", [False, True])
def test_a_label_without_a_query_never_wins(background: bool) -> None:
    label_map, _ = label_pixels(noise(2), [1, 3], 5, SIZE_HW, background=background)
    assert set(np.unique(label_map)) == ({1, 3, 5} if background else {1, 3})


def test_permuting_the_labels_permutes_the_label_map() -> None:
    logits, order = noise(4), [2, 0, 3, 1]
    label_map, confidence = label_pixels(logits, [0, 1, 2, 3], 4, SIZE_HW)
    permuted, same_confidence = label_pixels(logits[order], [0, 1, 2, 3], 4, SIZE_HW)
    assert (np.array(order)[permuted] == label_map).all()
    assert (same_confidence == confidence).all()


@pytest.mark.parametrize("owner", [[0, 1, 2, 2], [0, 1, 2, 3]])
def test_the_order_of_the_queries_does_not_matter(owner: list[int]) -> None:
    logits, order = noise(4), [2, 0, 3, 1]
    found = label_pixels(logits[order], [owner[query] for query in order], 4, SIZE_HW)
    assert (found[0] == label_pixels(logits, owner, 4, SIZE_HW)[0]).all()


def test_pixels_of_lower_confidence_are_void_and_no_others() -> None:
    plain, confidence = label_pixels(noise(3), [0, 1, 2], 3, SIZE_HW)
    label_map, same_confidence = label_pixels(noise(3), [0, 1, 2], 3, SIZE_HW, void_below=0.7)
    is_sure = enlarged(noise(3)).amax(0).sigmoid().numpy() >= 0.7
    assert 0 < is_sure.mean() < 1
    assert (label_map == np.where(is_sure, plain, 255)).all()
    assert (same_confidence == confidence).all()


def test_the_rest_class_wins_below_one_half_with_what_is_missing_to_one() -> None:
    logits = torch.tensor([[[2.0, -1.0, -3.0]], [[1.0, -2.0, -2.0]]])
    label_map, confidence = label_pixels(logits, [0, 1], 2, (1, 3), background=True)
    assert label_map.tolist() == [[0, 2, 2]]
    expected = 1 / (1 + np.exp(-np.array([[2.0, 1.0, 2.0]])))
    np.testing.assert_allclose(confidence, expected, rtol=1e-3)


def test_even_odds_are_not_yet_the_rest() -> None:
    label_map, _ = label_pixels(torch.zeros(1, 1, 1), [0], 1, (1, 1), background=True)
    assert label_map.tolist() == [[0]]


def test_the_rest_class_can_be_void_as_well() -> None:
    logits = torch.tensor([[[-0.1, -9.0]]])
    label_map, _ = label_pixels(logits, [0], 1, (1, 2), background=True, void_below=0.6)
    assert label_map.tolist() == [[255, 1]]


@pytest.mark.parametrize(
    ("num_labels", "background", "dtype"),
    [
        (254, False, np.uint8),
        (253, True, np.uint8),
        (254, True, np.uint16),
        (255, False, np.uint16),
    ],
)
def test_maps_have_8_bits_up_to_254_names_and_16_above(
    num_labels: int, background: bool, dtype: type
) -> None:
    logits = torch.tensor([[[-1.0, 3.0]], [[-2.0, 2.0]]])
    owner = [num_labels - 2, num_labels - 1]
    label_map, _ = label_pixels(
        logits, owner, num_labels, (1, 2), background=background, void_below=0.9
    )
    assert label_map.dtype == dtype
    assert label_map.tolist() == [[np.iinfo(dtype).max, num_labels - 2]]


def test_a_map_of_one_pixel_is_the_middle_of_the_logits() -> None:
    label_map, confidence = label_pixels(noise(3), [0, 1, 2], 3, (1, 1))
    middle = noise(3)[:, 2, 3]
    assert label_map.tolist() == [[int(middle.argmax())]]
    assert confidence.item() == pytest.approx(middle.max().sigmoid().item(), rel=1e-3)


def test_a_label_with_little_area_loses_what_it_wins_by_a_little() -> None:
    # The second label wins the last place by 0.5 and seems to cover little of the picture.
    logits = torch.tensor([[[2.0, 2.0, 2.0, 1.0]], [[-6.0, -6.0, -6.0, 1.5]]])
    share = logits.sigmoid().mean(dim=(1, 2))
    lead = float((share[0] / share[1]).log())
    for share_prior, expected in ((0.0, 1), (0.4 / lead, 1), (0.6 / lead, 0)):
        label_map, confidence = label_pixels(logits, [0, 1], 2, (1, 4), share_prior=share_prior)
        assert label_map.tolist() == [[0, 0, 0, expected]]
        own = logits[expected, 0, 3].sigmoid().item()  # the prior chooses; it does not make sure
        assert confidence[0, 3] == pytest.approx(own, rel=1e-3)


def test_a_share_is_of_the_label_alone_and_not_below_one_in_ten_thousand() -> None:
    logits = torch.tensor([[[0.5, 0.1]], [[1e-9, 1e-9]]]).logit()
    expected = 0.5 * torch.tensor([0.3, 1e-4]).log()
    torch.testing.assert_close(share_shift(logits, 0.5), expected)
    assert share_shift(logits, 0.0) is None


def test_synonyms_count_as_one_area() -> None:
    logits, owner = noise(4), [0, 1, 1, 2]
    merged = torch.stack([logits[0], logits[1:3].amax(dim=0), logits[3]])
    found = label_pixels(logits, owner, 3, SIZE_HW, share_prior=5.0)
    expected = label_pixels(merged, [0, 1, 2], 3, SIZE_HW, share_prior=5.0)
    assert (found[0] == expected[0]).all()
    assert (found[0] != label_pixels(logits, owner, 3, SIZE_HW)[0]).any()


def test_the_prior_makes_no_pixel_void_or_the_rest_that_some_name_is_sure_of() -> None:
    # The prior is for the first name, whose own logit in the last place is too low.
    logits = torch.tensor([[[3.0, 3.0, -0.5]], [[-9.0, -9.0, 0.5]]])
    assert label_pixels(logits, [0, 1], 2, (1, 3), share_prior=1.0)[0].tolist() == [[0, 0, 0]]
    for options in ({"background": True}, {"void_below": 0.6}):
        label_map, confidence = label_pixels(logits, [0, 1], 2, (1, 3), share_prior=1.0, **options)
        assert label_map.tolist() == [[0, 0, 1]]
        assert confidence[0, 2] == pytest.approx(torch.tensor(0.5).sigmoid().item(), rel=1e-3)


@pytest.mark.parametrize(
    "options", [{"background": True}, {"void_below": 0.6}, {"void_below": 1.0}]
)
def test_what_is_void_or_the_rest_does_not_depend_on_the_prior(options: dict[str, float]) -> None:
    plain, prior = (
        label_pixels(noise(4) - 1, [0, 1, 2, 3], 4, SIZE_HW, share_prior=share, **options)[0]
        for share in (0.0, 3.0)
    )
    left_out = 4 if "background" in options else 255
    assert ((plain == left_out) == (prior == left_out)).all()
    assert (plain == left_out).any()
    assert (plain != prior).any() or options == {"void_below": 1.0}


def test_many_labels_of_a_wide_picture_are_worked_off_in_turns() -> None:
    for num_labels, width in [(1, 100), (20, 640), (20_000, 8_000), (65_534, 30_000)]:
        rows, at_once = labelling.band_of(num_labels, width)
        assert rows >= 1
        assert 1 <= at_once <= num_labels
        assert rows * at_once * width <= 16_000_000
    assert labelling.band_of(20, 640) == (1250, 20)


def test_an_answer_that_is_no_number_is_refused() -> None:
    logits = torch.zeros(2, 3, 4)
    merge_queries(logits, [0, 0])
    logits[1, 2, 3] = torch.nan
    for owner in ([0, 1], [0, 0]):
        with pytest.raises(WeightsError, match=r"answer is no number \(NaN\).*float32"):
            merge_queries(logits, owner)
