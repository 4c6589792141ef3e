from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.model.correlation import object_probability
from escnet.model.pseudo_prompt import PseudoPromptGenerator
from escnet.model.regions import tightest_boxes

B, N, h, w, K = 2, 4, 6, 9, 3


def generator(**settings: Any) -> PseudoPromptGenerator:
    defaults: dict[str, Any] = {
        "num_regions": K,
        "softmax": "position",
        "sharpness": 4.0,
        "threshold": 0.3,
        "kmeans_steps": 5,
        "empty_region": "drop",
        "mask_prompt": "map",
        "mask_scale": 1.0,
    }
    return PseudoPromptGenerator(**{**defaults, **settings})


@pytest.fixture
def correlation() -> Tensor:
    coarse = torch.randn(B, N, 3, 3, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=False)


def test_two_peaks_give_their_two_places_as_points() -> None:
    correlation = torch.zeros(1, 1, 4, 8)
    correlation[0, 0, 1, 1], correlation[0, 0, 3, 6] = 1.0, 0.9
    prompt = generator(num_regions=2)(correlation)
    assert prompt.point_xy[0, 0].tolist() == [[1.5 / 8, 1.5 / 4], [6.5 / 8, 3.5 / 4]]
    assert prompt.is_valid.all()
    assert (prompt.region[0, 0] >= 0).sum() == 2


def test_a_point_is_the_most_probable_patch_of_its_region(correlation: Tensor) -> None:
    prompt = generator()(correlation)
    found = 0
    for b in range(B):
        for n in range(N):
            for k in range(K):
                inside = prompt.region[b, n] == k
                assert prompt.is_valid[b, n, k] == inside.any()
                if not inside.any():
                    continue
                best = torch.where(inside, prompt.probability[b, n], -1.0).flatten().argmax().item()
                y, x = divmod(int(best), w)
                expected = torch.tensor([(x + 0.5) / w, (y + 0.5) / h])
                torch.testing.assert_close(prompt.point_xy[b, n, k], expected)
                box = tightest_boxes(inside[None, None])[0, 0]
                torch.testing.assert_close(prompt.box_xyxy[b, n, k], box)
                found += 1
    assert found > B * N


def test_the_foreground_is_what_reaches_the_threshold(correlation: Tensor) -> None:
    prompt = generator(threshold=0.5)(correlation)
    probability = object_probability(correlation, sharpness=4.0)
    torch.testing.assert_close(prompt.probability, probability)
    assert (prompt.region >= 0).equal(probability >= 0.5)


def test_the_largest_threshold_still_leaves_the_best_patch(correlation: Tensor) -> None:
    region = generator(threshold=1.0)(correlation).region
    best = correlation.flatten(2).argmax(dim=2)
    for b in range(B):
        for n in range(N):
            assert (region[b, n] >= 0).flatten().nonzero().tolist() == [[int(best[b, n])]]


def test_the_prompt_of_an_empty_region_is_dropped_or_repeats_the_best_patch() -> None:
    correlation = torch.zeros(1, 1, 4, 4)
    correlation[0, 0, 2, 1] = 1.0
    dropped = generator(empty_region="drop")(correlation)
    repeated = generator(empty_region="repeat")(correlation)
    assert dropped.is_valid[0, 0].tolist() == [True, False, False]
    assert repeated.is_valid[0, 0].tolist() == [True, True, True]
    assert repeated.point_xy[0, 0].tolist() == [[1.5 / 4, 2.5 / 4]] * K
    assert repeated.box_xyxy[0, 0].tolist() == [[0.25, 0.5, 0.5, 0.75]] * K


def test_the_map_as_mask_runs_from_minus_to_plus_the_scale(correlation: Tensor) -> None:
    mask = generator(mask_scale=2.5)(correlation).mask
    assert mask.shape == (B, N, 1, 4 * h, 4 * w)
    assert mask.abs().amax() <= 2.5
    flat = correlation.flatten(2)
    low, high = flat.amin(dim=2)[..., None, None], flat.amax(dim=2)[..., None, None]
    share = (correlation - low) / (high - low)
    expected = F.interpolate(5.0 * share - 2.5, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(mask[:, :, 0], expected)


def test_the_union_mask_holds_the_probability_of_all_regions_and_no_more() -> None:
    correlation = torch.zeros(1, 1, 4, 4)
    correlation[0, 0, 1, 1] = 1.0
    mask = generator(mask_prompt="union", mask_scale=8.0)(correlation).mask[0, 0, 0]
    assert mask[:2].eq(-8.0).all()
    assert mask[:, 8 + 2 :].eq(-8.0).all()
    assert mask[5:7, 5:7].gt(-8.0).all()
    assert mask.max() == pytest.approx(8.0 * (2 * (7 / 8) ** 2 - 1))


def test_separate_masks_add_up_to_the_union(correlation: Tensor) -> None:
    separate = generator(mask_prompt="separate")(correlation).mask
    union = generator(mask_prompt="union")(correlation).mask
    assert separate.shape == (B, N, K, 4 * h, 4 * w)
    torch.testing.assert_close(((separate + 1) / 2).sum(dim=2), (union[:, :, 0] + 1) / 2)


@pytest.mark.parametrize("mask_prompt", ["map", "union", "separate"])
def test_the_scale_of_a_map_changes_no_prompt(correlation: Tensor, mask_prompt: str) -> None:
    generate = generator(mask_prompt=mask_prompt)
    for ours, theirs in zip(generate(correlation), generate(30 * correlation - 7), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("softmax", ["position", "class"])
def test_reordering_the_class_names_reorders_the_prompts(correlation: Tensor, softmax: str) -> None:
    order = torch.tensor([2, 0, 3, 1])
    generate = generator(softmax=softmax)
    for ours, theirs in zip(generate(correlation[:, order]), generate(correlation), strict=True):
        torch.testing.assert_close(ours, theirs[:, order])


def test_the_softmax_over_names_is_the_share_among_the_names(correlation: Tensor) -> None:
    power = (4.0 * correlation).exp()
    share = power / power.sum(dim=1, keepdim=True)
    expected = share / share.amax(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(generator(softmax="class")(correlation).probability, expected)


def test_a_name_that_is_nowhere_likely_still_peaks_at_one(correlation: Tensor) -> None:
    correlation[:, 0] -= 100.0
    prompt = generator(softmax="class", mask_prompt="union")(correlation)
    assert prompt.probability[:, 0].amax(dim=(1, 2)).eq(1).all()
    assert prompt.mask.isfinite().all()


def test_a_flat_map_is_foreground_everywhere() -> None:
    prompt = generator()(torch.full((1, 1, h, w), 0.2))
    assert (prompt.region >= 0).all()
    assert prompt.mask.isfinite().all()


def test_no_gradient_passes_the_generator(correlation: Tensor) -> None:
    for found in generator(mask_prompt="separate")(correlation.requires_grad_()):
        assert not found.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_prompt(dtype: torch.dtype) -> None:
    # Many places on a large grid: their sums do not fit into half precision.
    coarse = torch.randn(4, 20, 5, 5, generator=torch.Generator().manual_seed(0))
    correlation = F.interpolate(coarse, size=(24, 24), mode="bicubic", align_corners=False)
    generate = generator(num_regions=5)
    expected = generate(correlation)
    with torch.autocast("cpu", dtype):
        found = generate(correlation)
    assert found.region.equal(expected.region)
    assert found.point_xy.equal(expected.point_xy)
