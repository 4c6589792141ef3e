from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from escnet.model.mask_head import (
    MaskHead,
    agreement,
    drawn_by_masks,
    levels,
    on_patches,
)
from escnet.model.two_way import TokensAndPatches

B, N, T, S, G, h, w = 2, 3, 7, 16, 4, 3, 2


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def head(stir: Callable[[nn.Module], None]) -> MaskHead:
    torch.manual_seed(0)
    head = MaskHead(width=S, num_heads=G)
    stir(head)
    return head.eval()


@torch.no_grad()
def test_a_mask_is_sams_formula_written_out(head: MaskHead) -> None:
    attended = TokensAndPatches(draw(B, N, T, S, seed=1), draw(B, N, h * w, S, seed=2))
    token, position = draw(B, N, T, S, seed=3), draw(h * w, S, seed=4)
    found = head(attended, token, position, (h, w))
    assert found.shape == (B, N, 4, 4 * h, 4 * w)
    for b in range(B):
        for n in range(N):
            expected = masks_of(
                head, attended.token[b, n], attended.image[b, n], token[b, n], position
            )
            torch.testing.assert_close(found[b, n], expected, atol=1e-5, rtol=1e-5)


def masks_of(
    head: MaskHead, updated: Tensor, image: Tensor, token: Tensor, position: Tensor
) -> Tensor:
    """All tokens attend to the projected patches; then the five first are read."""
    own = head.final_attn_token_to_image
    query, key = own.q_proj(updated + token), own.k_proj(image + position)
    heads = [
        torch.softmax(q @ k.T / q.shape[1] ** 0.5, dim=1) @ v
        for q, k, v in zip(
            query.chunk(G, dim=1), key.chunk(G, dim=1), own.v_proj(image).chunk(G, dim=1),
            strict=True,
        )
    ]  # fmt: skip
    output = head.norm_final_attn(updated + own.out_proj(torch.cat(heads, dim=1)))
    enlarge, norm, _, again, _ = head.output_upscaling
    fine = F.gelu(norm(enlarge(image.T.reshape(1, S, h, w))))
    fine = F.gelu(again(fine))[0]
    masks = []
    for index, network in enumerate(head.output_hypernetworks_mlps):
        x = output[1 + index]  # the IoU token is the first
        for layer in network.layers[:-1]:
            x = layer(x).relu()
        masks.append((network.layers[-1](x)[:, None, None] * fine).sum(dim=0))
    return torch.stack(masks)


def test_agreement_is_pearsons_coefficient() -> None:
    correlation = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    masks = torch.tensor([[[1.0, 0], [0, 0]], [[0, 1.0], [1, 1]], [[1.0, 1], [0, 0]]])
    expected = [float(np.corrcoef(m.flatten(), correlation.flatten())[0, 1]) for m in masks]
    torch.testing.assert_close(agreement(masks, correlation), torch.tensor(expected))


def test_of_a_finer_mask_the_share_of_each_patch_counts() -> None:
    correlation = torch.tensor([[3.0, 1.0], [1.0, 0.0]])
    mask = torch.zeros(1, 4, 4)
    mask[0, :2, :2] = mask[0, 0, 2] = mask[0, 3, 0] = 1  # all of a patch, and a quarter of two
    expected = np.corrcoef([1, 0.25, 0.25, 0], correlation.flatten())[0, 1]
    assert float(agreement(mask, correlation)[0]) == pytest.approx(float(expected), abs=1e-6)


def test_agreement_of_a_mask_without_edges_is_none() -> None:
    flat = torch.stack([torch.ones(4, 4), torch.zeros(4, 4)])
    assert agreement(flat, torch.rand(4, 4)).abs().max() < 1e-2


def test_every_class_has_an_agreement_and_levels_of_its_own() -> None:
    masks, correlation = draw(B, N, 4, 6, 9, seed=5).sigmoid(), draw(B, N, 2, 3, seed=6)
    found = agreement(masks, correlation)
    outside, inside = levels(correlation, masks[:, :, 0])
    for b in range(B):
        for n in range(N):
            torch.testing.assert_close(found[b, n], agreement(masks[b, n], correlation[b, n]))
            alone = levels(correlation[b, n], masks[b, n, 0])
            torch.testing.assert_close(
                torch.stack([outside[b, n], inside[b, n]]), torch.stack(alone)
            )


def test_a_mask_gets_the_levels_inside_and_outside_that_the_map_has() -> None:
    correlation = torch.tensor([[4.0, 2.0], [1.0, 1.0]])
    mask = torch.zeros(8, 8)
    mask[:4] = 1  # both upper patches
    assert [float(level) for level in levels(correlation, mask)] == [1.0, 3.0]


def test_a_mask_that_is_the_object_draws_the_map_anew() -> None:
    truth = torch.zeros(1, 1, 4, 4)
    truth[..., 1:3, :2] = 1
    noisy = 5 * truth - 3 + 0.1 * draw(1, 1, 4, 4, seed=7)
    fine = truth.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    logits = torch.stack([40 * fine - 20, -20 + 0 * fine], dim=2)
    found = drawn_by_masks(logits, noisy)
    inside, outside = noisy[truth == 1].mean(), noisy[truth == 0].mean()
    torch.testing.assert_close(found, torch.where(truth == 1, inside, outside))


def test_the_mask_that_agrees_decides_and_the_others_hardly_count() -> None:
    correlation = draw(1, 1, 4, 4, seed=8)
    good = correlation[:, :, None]
    expected = drawn_by_masks(good, correlation)
    found = drawn_by_masks(torch.cat([draw(1, 1, 3, 4, 4, seed=9), good], dim=2), correlation)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_a_mask_without_edges_draws_the_maps_mean() -> None:
    correlation = draw(1, 2, 3, 3, seed=10)
    found = drawn_by_masks(torch.full((1, 2, 4, 12, 12), 30.0), correlation)
    mean = correlation.mean(dim=(2, 3), keepdim=True).expand_as(correlation)
    torch.testing.assert_close(found, mean, atol=1e-3, rtol=0)


def test_a_mask_without_edges_is_not_blown_up() -> None:
    correlation = draw(1, 1, 4, 4, seed=13)
    faint = drawn_by_masks(0.01 * correlation[:, :, None], correlation)
    clear = drawn_by_masks(correlation[:, :, None], correlation)
    assert faint.std() < 0.1 * clear.std()


def test_a_mask_is_drawn_with_a_gradient() -> None:
    logits = draw(1, 2, 4, 8, 8, seed=11).requires_grad_()
    (drawn_by_masks(logits, draw(1, 2, 2, 2, seed=12)) ** 2).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().amax(dim=(3, 4)).min() > 0


def test_masks_on_a_grid_that_is_no_multiple_are_brought_to_the_patches() -> None:
    assert on_patches(torch.ones(2, 5, 7), (2, 3)).tolist() == torch.ones(2, 2, 3).tolist()
