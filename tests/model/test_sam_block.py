from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from escnet.model.mask_head import MaskHead, drawn_by_masks
from escnet.model.prompt_encoder import PromptEncoder
from escnet.model.pseudo_prompt import PseudoPrompt, PseudoPromptGenerator
from escnet.model.sam_block import SamBlock
from escnet.model.two_way import SharedPatches, TokensAndPatches, TwoWayTransformer

B, N, K, S, D, h, w = 2, 5, 3, 16, 6, 4, 3
ALL_PROMPTS = [
    ("point",),
    ("box",),
    ("mask",),
    ("point", "box"),
    ("point", "mask"),
    ("box", "mask"),
    ("point", "box", "mask"),
]


@pytest.fixture
def encoder(stir: Callable[[nn.Module], None]) -> PromptEncoder:
    torch.manual_seed(0)
    encoder = PromptEncoder(S)
    stir(encoder)
    return encoder.eval()


@pytest.fixture
def make_block(stir: Callable[[nn.Module], None]) -> Callable[..., SamBlock]:
    def make(*, has_masks: bool = False, **settings: Any) -> SamBlock:
        torch.manual_seed(0)
        two_way = TwoWayTransformer(width=S, num_heads=4, mlp_width=32)
        mask_head = MaskHead(width=S, num_heads=4) if has_masks else None
        defaults: dict[str, Any] = {"prompts": ("point", "mask"), "merge": "mean"}
        block = SamBlock(two_way, mask_head, width=S, **{**defaults, **settings})
        stir(block)
        return block.eval()

    return make


@pytest.fixture
def appearance() -> Tensor:
    return torch.randn(B, h * w, S, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def text() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def correlation() -> Tensor:
    return torch.randn(B, N, h, w, generator=torch.Generator().manual_seed(3))


def read_off(correlation: Tensor, mask_prompt: Any = "map") -> PseudoPrompt:
    return PseudoPromptGenerator(
        num_regions=K,
        softmax="position",
        sharpness=4.0,
        threshold=0.6,
        kmeans_steps=4,
        empty_region="drop",
        mask_prompt=mask_prompt,
        mask_scale=1.0,
    )(correlation)


def attended_by(
    block: SamBlock,
    encoder: PromptEncoder,
    appearance: Tensor,
    prompt: PseudoPrompt,
    b: int,
    n: int,
    text: Tensor,
) -> tuple[TokensAndPatches, Tensor]:
    """One class's tokens and patches, its prompts put together by hand, and the tokens before."""
    is_valid = prompt.is_valid[b, n]
    tokens: list[Tensor] = [block.output_tokens]
    if "point" in block.prompts:
        tokens.append(encoder.encode_points(prompt.point_xy[b, n], is_valid))
        if "box" not in block.prompts:
            tokens.append(encoder.not_a_point_embed.weight)
    if "box" in block.prompts:
        tokens.append(encoder.encode_boxes(prompt.box_xyxy[b, n], is_valid))
    if block.text_token is not None:
        tokens.append(block.text_token(text[n])[None])
    dense: Tensor = encoder.no_mask_embed.weight
    if "mask" in block.prompts:
        maps = encoder.mask_downscaling(prompt.mask[b, n][:, None])  # (J, S, h, w)
        dense = maps.mean(dim=0).flatten(1).T
    position = encoder.image_position(h, w)
    image = (appearance[b] + dense)[None]
    shared = block.two_way.share(image, position)
    patches = SharedPatches(image, None, None)
    token = torch.cat(tokens)[None, None]
    return block.two_way(patches, shared, token), token


def refined_by(*arguments: Any) -> Tensor:
    """One class's patches: (P, S)."""
    return attended_by(*arguments)[0].image[0, 0]


@torch.no_grad()
@pytest.mark.parametrize("mask_prompt", ["map", "separate"])
@pytest.mark.parametrize("prompts", ALL_PROMPTS)
def test_the_appearance_is_the_mean_of_what_each_class_alone_makes_of_it(
    make_block: Callable[..., SamBlock],
    encoder: PromptEncoder,
    appearance: Tensor,
    text: Tensor,
    correlation: Tensor,
    prompts: tuple[str, ...],
    mask_prompt: str,
) -> None:
    block = make_block(prompts=prompts, text_dim=D)
    prompt = read_off(correlation, mask_prompt)
    found = block(appearance, prompt, encoder, text[None], correlation).appearance
    for b in range(B):
        alone = [refined_by(block, encoder, appearance, prompt, b, n, text) for n in range(N)]
        mean = torch.stack(alone).mean(dim=0)
        expected = appearance[b] @ block.keep.weight.T + mean @ block.take.weight.T
        torch.testing.assert_close(found[b], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_merge_by_evidence_weighs_a_class_by_its_softmax(
    make_block: Callable[..., SamBlock],
    encoder: PromptEncoder,
    appearance: Tensor,
    text: Tensor,
    correlation: Tensor,
) -> None:
    block = make_block(merge="evidence")
    prompt = read_off(correlation)
    evidence = correlation.amax(dim=(2, 3))
    found = block(appearance, prompt, encoder, text[None], correlation).appearance
    for b in range(B):
        power = evidence[b].exp()
        alone = [refined_by(block, encoder, appearance, prompt, b, n, text) for n in range(N)]
        weighted = [power[n] / power.sum() * alone[n] for n in range(N)]
        merged = torch.stack(weighted).sum(dim=0)
        expected = appearance[b] @ block.keep.weight.T + merged @ block.take.weight.T
        torch.testing.assert_close(found[b], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("prompts", ALL_PROMPTS)
def test_each_class_is_drawn_by_the_masks_of_its_own_prompts(
    make_block: Callable[..., SamBlock],
    encoder: PromptEncoder,
    appearance: Tensor,
    text: Tensor,
    correlation: Tensor,
    prompts: tuple[str, ...],
) -> None:
    block = make_block(prompts=prompts, text_dim=D, has_masks=True)
    assert block.mask_head is not None
    prompt = read_off(correlation)
    found = block(appearance, prompt, encoder, text[None], correlation).drawn
    assert found.shape == correlation.shape
    position = encoder.image_position(h, w)
    for b in range(B):
        for n in range(N):
            attended, token = attended_by(block, encoder, appearance, prompt, b, n, text)
            logits = block.mask_head(attended, token, position, (h, w))
            expected = drawn_by_masks(logits, correlation[b : b + 1, n : n + 1])
            torch.testing.assert_close(found[b, n], expected[0, 0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_masks_leave_the_appearance_as_it_is(
    make_block: Callable[..., SamBlock],
    encoder: PromptEncoder,
    appearance: Tensor,
    text: Tensor,
    correlation: Tensor,
) -> None:
    with_masks, without = make_block(has_masks=True), make_block()
    without.load_state_dict(with_masks.state_dict(), strict=False)
    arguments = (appearance, read_off(correlation), encoder, text[None], correlation)
    assert without(*arguments).drawn is None
    assert without(*arguments).appearance.equal(with_masks(*arguments).appearance)


def test_the_maps_that_the_prompts_were_read_off_get_no_gradient(
    make_block: Callable[..., SamBlock],
    encoder: PromptEncoder,
    appearance: Tensor,
    text: Tensor,
    correlation: Tensor,
) -> None:
    block = make_block(has_masks=True, merge="evidence")
    correlation.requires_grad_()
    answer = block(appearance, read_off(correlation), encoder, text[None], correlation)
    (answer.appearance.sum() + answer.drawn.square().sum()).backward()
    assert correlation.grad is None
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name


@torch.no_grad()
@pytest.mark.parametrize("class_chunk", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("merge", ["mean", "evidence"])
def test_chunks_of_classes_change_nothing(
    make_block: Callable[..., SamBlock],
    encoder: PromptEncoder,
    appearance: Tensor,
    text: Tensor,
    correlation: Tensor,
    merge: str,
    class_chunk: int,
) -> None:
    block = make_block(merge=merge, text_dim=D, has_masks=True)
    arguments = (appearance, read_off(correlation), encoder, text[None], correlation)
    found, expected = block(*arguments, class_chunk), block(*arguments)
    torch.testing.assert_close(tuple(found), tuple(expected), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_order_of_the_classes_orders_what_is_drawn_and_changes_nothing_else(
    make_block: Callable[..., SamBlock],
    encoder: PromptEncoder,
    appearance: Tensor,
    text: Tensor,
    correlation: Tensor,
) -> None:
    block = make_block(merge="evidence", text_dim=D, has_masks=True)
    mixed, order = correlation[:, [3, 1, 4, 0, 2]], [3, 1, 4, 0, 2]
    found = block(appearance, read_off(mixed), encoder, text[None, order], mixed)
    expected = block(appearance, read_off(correlation), encoder, text[None], correlation)
    wanted = (expected.appearance, expected.drawn[:, order])
    torch.testing.assert_close(tuple(found), wanted, atol=1e-5, rtol=1e-5)


def test_a_fresh_block_keeps_the_appearance_and_takes_up_half() -> None:
    two_way = TwoWayTransformer(width=S, num_heads=4, mlp_width=8)
    block = SamBlock(two_way, width=S, prompts=("point",), merge="mean")
    assert block.keep.weight.equal(torch.eye(S))
    torch.testing.assert_close(block.take.weight, 0.5 * torch.eye(S))
