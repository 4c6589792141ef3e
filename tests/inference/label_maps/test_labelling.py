from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from escnet.errors import WeightsError
from escnet.inference.label_maps import labelling
from escnet.inference.label_maps.labelling import (
    bands,
    label_pixels,
    merge_queries,
    share_shift,
)
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.label_maps.rest import Rest

SIZE_HW = (13, 29)  # of the picture


def noise(num_queries: int, seed: int = 0) -> np.ndarray:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(num_queries, 5, 7, generator=random).numpy()


def enlarged(logits: np.ndarray) -> np.ndarray:
    maps = torch.from_numpy(logits)[None]
    return F.interpolate(maps, size=SIZE_HW, mode="bilinear", align_corners=False)[0].numpy()


def logits_of(*maps: list[list[float]]) -> np.ndarray:
    return np.array(maps, np.float32)


def test_a_hand_computed_map_of_two_by_two() -> None:
    logits = logits_of([[2.0, -1.0], [0.0, 3.0]], [[1.0, 1.0], [-2.0, 4.0]])
    label_map, confidence = label_pixels(logits, [0, 1], 2, (2, 2))
    assert label_map.tolist() == [[0, 1], [0, 1]]
    expected = 1 / (1 + np.exp(-np.array([[2.0, 1.0], [0.0, 4.0]])))
    np.testing.assert_allclose(confidence, expected, rtol=1e-3)


def test_the_labels_are_those_of_the_enlarged_logits() -> None:
    logits = noise(4)
    label_map, confidence = label_pixels(logits, [0, 1, 2, 3], 4, SIZE_HW)
    assert (label_map == enlarged(logits).argmax(axis=0)).all()
    np.testing.assert_allclose(confidence, sigmoid(enlarged(logits).max(axis=0)), rtol=1e-3)
    assert set(np.unique(label_map)) == {0, 1, 2, 3}


@pytest.mark.parametrize("band", [1, 29, 29 * 5])
@pytest.mark.parametrize(
    "options",
    [
        {"void_below": 0.6, "rest": Rest(), "share_prior": 2.0},
        {"rest": Rest(), "share_prior": 0.5},
        {"share_prior": 2.0},
        {"rest": Rest()},
        {},
    ],
)
def test_bands_of_any_height_give_what_one_piece_gives(
    monkeypatch: pytest.MonkeyPatch, band: int, options: dict[str, Any]
) -> None:
    whole = label_pixels(noise(4), [0, 1, 1, 2], 3, SIZE_HW, **options)
    monkeypatch.setattr(labelling, "_BAND", band)
    banded = label_pixels(noise(4), [0, 1, 1, 2], 3, SIZE_HW, **options)
    assert (banded[0] == whole[0]).all()
    assert (banded[1] == whole[1]).all()


def test_a_label_takes_the_highest_of_its_queries() -> None:
    logits = noise(5)
    owner = [1, 0, 1, 2, 0]
    merged = np.stack([logits[[1, 4]].max(0), logits[[0, 2]].max(0), logits[3]])
    found = label_pixels(logits, owner, 3, SIZE_HW)
    expected = label_pixels(merged, [0, 1, 2], 3, SIZE_HW)
    assert (found[0] == expected[0]).all()
    assert (found[1] == expected[1]).all()


@pytest.mark.parametrize("rest", [None, Rest()])
def test_a_label_without_a_query_never_wins(rest: Rest | None) -> None:
    label_map, _ = label_pixels(noise(2), [1, 3], 5, SIZE_HW, rest=rest)
    assert set(np.unique(label_map)) == ({1, 3, 5} if rest else {1, 3})


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
    is_sure = sigmoid(enlarged(noise(3)).max(0)) >= 0.7
    assert 0 < is_sure.mean() < 1
    assert (label_map == np.where(is_sure, plain, 255)).all()
    assert (same_confidence == confidence).all()


def test_the_rest_class_wins_below_one_half_with_what_is_missing_to_one() -> None:
    logits = logits_of([[2.0, -1.0, -3.0]], [[1.0, -2.0, -2.0]])
    label_map, confidence = label_pixels(logits, [0, 1], 2, (1, 3), rest=Rest())
    assert label_map.tolist() == [[0, 2, 2]]
    expected = 1 / (1 + np.exp(-np.array([[2.0, 1.0, 2.0]])))
    np.testing.assert_allclose(confidence, expected, rtol=1e-3)


def test_even_odds_are_not_yet_the_rest() -> None:
    label_map, _ = label_pixels(logits_of([[0.0]]), [0], 1, (1, 1), rest=Rest())
    assert label_map.tolist() == [[0]]


def test_the_rest_class_can_be_void_as_well() -> None:
    logits = logits_of([[-0.1, -9.0]])
    label_map, _ = label_pixels(logits, [0], 1, (1, 2), rest=Rest(), void_below=0.6)
    assert label_map.tolist() == [[255, 1]]


@pytest.mark.parametrize(
    ("num_labels", "rest", "dtype"),
    [
        (254, None, np.uint8),
        (253, Rest(), np.uint8),
        (254, Rest(), np.uint16),
        (255, None, np.uint16),
    ],
)
def test_maps_have_8_bits_up_to_254_names_and_16_above(
    num_labels: int, rest: Rest | None, dtype: type
) -> None:
    logits = logits_of([[-1.0, 3.0]], [[-2.0, 2.0]])
    owner = [num_labels - 2, num_labels - 1]
    label_map, _ = label_pixels(logits, owner, num_labels, (1, 2), rest=rest, void_below=0.9)
    assert label_map.dtype == dtype
    assert label_map.tolist() == [[np.iinfo(dtype).max, num_labels - 2]]


def test_a_map_of_one_pixel_is_the_middle_of_the_logits() -> None:
    label_map, confidence = label_pixels(noise(3), [0, 1, 2], 3, (1, 1))
    middle = noise(3)[:, 2, 3]
    assert label_map.tolist() == [[int(middle.argmax())]]
    assert confidence.item() == pytest.approx(sigmoid(middle).max(), rel=1e-3)


def test_a_label_with_little_area_loses_what_it_wins_by_a_little() -> None:
    # The second label wins the last place by 0.5 and seems to cover little of the picture.
    logits = logits_of([[2.0, 2.0, 2.0, 1.0]], [[-6.0, -6.0, -6.0, 1.5]])
    share = sigmoid(logits).mean(axis=(1, 2))
    lead = float(np.log(share[0] / share[1]))
    for share_prior, expected in ((0.0, 1), (0.4 / lead, 1), (0.6 / lead, 0)):
        label_map, confidence = label_pixels(logits, [0, 1], 2, (1, 4), share_prior=share_prior)
        assert label_map.tolist() == [[0, 0, 0, expected]]
        own = sigmoid(logits[expected, 0])[3]  # the prior chooses; it does not make sure
        assert confidence[0, 3] == pytest.approx(own, rel=1e-3)


def test_a_share_is_of_the_label_alone_and_not_below_one_in_ten_thousand() -> None:
    logits = torch.tensor([[[0.5, 0.1]], [[1e-9, 1e-9]]]).logit().numpy()
    shift = share_shift(logits, 0.5)
    assert shift is not None
    np.testing.assert_allclose(shift, 0.5 * np.log([0.3, 1e-4]), rtol=1e-6)
    assert share_shift(logits, 0.0) is None


def test_synonyms_count_as_one_area() -> None:
    logits, owner = noise(4), [0, 1, 1, 2]
    merged = np.stack([logits[0], logits[1:3].max(axis=0), logits[3]])
    found = label_pixels(logits, owner, 3, SIZE_HW, share_prior=5.0)
    expected = label_pixels(merged, [0, 1, 2], 3, SIZE_HW, share_prior=5.0)
    assert (found[0] == expected[0]).all()
    assert (found[0] != label_pixels(logits, owner, 3, SIZE_HW)[0]).any()


def test_the_prior_makes_no_pixel_void_or_the_rest_that_some_name_is_sure_of() -> None:
    # The prior is for the first name, whose own logit in the last place is too low.
    logits = logits_of([[3.0, 3.0, -0.5]], [[-9.0, -9.0, 0.5]])
    assert label_pixels(logits, [0, 1], 2, (1, 3), share_prior=1.0)[0].tolist() == [[0, 0, 0]]
    for options in ({"rest": Rest()}, {"void_below": 0.6}):
        label_map, confidence = label_pixels(logits, [0, 1], 2, (1, 3), share_prior=1.0, **options)
        assert label_map.tolist() == [[0, 0, 1]]
        assert confidence[0, 2] == pytest.approx(sigmoid(np.float32([0.5]))[0], rel=1e-3)


@pytest.mark.parametrize("options", [{"rest": Rest()}, {"void_below": 0.6}, {"void_below": 1.0}])
def test_what_is_void_or_the_rest_does_not_depend_on_the_prior(options: dict[str, Any]) -> None:
    plain, prior = (
        label_pixels(noise(4) - 1, [0, 1, 2, 3], 4, SIZE_HW, share_prior=share, **options)[0]
        for share in (0.0, 3.0)
    )
    left_out = 4 if "rest" in options else 255
    assert ((plain == left_out) == (prior == left_out)).all()
    assert (plain == left_out).any()
    assert (plain != prior).any() or options == {"void_below": 1.0}


@pytest.mark.parametrize("size_hw", [(1, 1), (13, 29), (480, 640), (3, 200_000)])
def test_bands_are_the_whole_picture_and_fit_the_cache(size_hw: tuple[int, int]) -> None:
    cut = list(bands(size_hw))
    rows = [row for band in cut for row in range(size_hw[0])[band]]
    assert rows == list(range(size_hw[0]))
    for band in cut:
        height = band.stop - band.start
        assert height == 1 or height * size_hw[1] <= 65_536


def test_an_answer_that_is_no_number_is_refused() -> None:
    logits = np.zeros((2, 3, 4), np.float32)
    merge_queries(logits, [0, 0])
    logits[1, 2, 3] = np.nan
    for owner in ([0, 1], [0, 0]):
        with pytest.raises(WeightsError, match=r"answer is no number \(NaN\).*float32"):
            merge_queries(logits, owner)


@pytest.mark.parametrize("logit", [-200.0, -1.5, 0.0, 3.0, 200.0])
def test_the_sigmoid_is_torchs_without_a_warning(logit: float) -> None:
    expected = torch.tensor(logit).sigmoid().item()
    assert sigmoid(np.float32([logit])).tolist() == pytest.approx([expected], rel=1e-6)
