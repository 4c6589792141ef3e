from collections.abc import Callable

import torch
from torch import Tensor

from escnet.model.esc_block import EscBlock
from escnet.model.escnet import EscNet

B, N, h, w, C, S = 2, 7, 4, 5, 16, 32


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def block_and_inputs(
    network: EscNet, text_embedding: Tensor
) -> tuple[EscBlock, tuple[Tensor, Tensor, Tensor, Tensor]]:
    block = network.blocks[1]
    assert isinstance(block, EscBlock)
    state, appearance = draw(B, N, h, w, C, seed=3), draw(B, h, w, S, seed=4)
    return block, (state, appearance, draw(B, N, h, w, seed=5), text_embedding[None])


@torch.no_grad()
def test_a_block_is_prompts_then_sam_then_fusion(
    tiny_network: Callable[..., EscNet], text_embedding: Tensor
) -> None:
    network = tiny_network(merge="evidence")
    block, (state, appearance, evidence, text) = block_and_inputs(network, text_embedding)
    encoder = network.prompt_encoder
    assert block.sam is not None
    assert encoder is not None
    found_state, found_appearance, drawn = block(state, appearance, evidence, text, encoder)
    assert drawn is None
    patches = appearance.reshape(B, h * w, S)
    answer = block.sam(patches, block.generator(evidence), encoder, text, evidence)
    torch.testing.assert_close(found_appearance, answer.appearance.reshape(B, h, w, S))
    torch.testing.assert_close(found_state, block.fusion(state, found_appearance, text))


@torch.no_grad()
def test_without_sam_the_appearance_stays_and_the_evidence_is_not_looked_at(
    tiny_network: Callable[..., EscNet], text_embedding: Tensor
) -> None:
    network = tiny_network(sam="none")
    block, (state, appearance, evidence, text) = block_and_inputs(network, text_embedding)
    found_state, found_appearance, _ = block(state, appearance, evidence, text, None)
    assert found_appearance.equal(appearance)
    other_state, *_ = block(state, appearance, evidence.flip(1), text, None)
    assert found_state.equal(other_state)


def test_no_gradient_reaches_the_evidence_through_the_prompts(
    tiny_network: Callable[..., EscNet], text_embedding: Tensor
) -> None:
    network = tiny_network(merge="evidence")
    block, (state, appearance, evidence, text) = block_and_inputs(network, text_embedding)
    evidence.requires_grad_()
    state.requires_grad_()
    refined, *_ = block(state, appearance, evidence, text, network.prompt_encoder)
    refined.sum().backward()
    assert evidence.grad is None
    assert state.grad is not None
