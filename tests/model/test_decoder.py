from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from escnet.model.decoder import Decoder, UpStage

B, N, C, h, w = 2, 3, 6, 4, 5


@pytest.fixture
def decoder(stir: Callable[[nn.Module], None]) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(hidden_dim=C, skip_channels=(7, 9), skip_dims=(3, 2), dims=(32, 8))
    stir(decoder)
    return decoder.eval()


@pytest.fixture
def state() -> Tensor:
    return torch.randn(B, N, h, w, C, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def skips() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(B, 7, h, w, generator=generator)
    return coarse, torch.randn(B, 9, 4 * h, 4 * w, generator=generator)


def grouped_norm(x: Tensor, groups: int, norm: nn.Module) -> Tensor:
    state = norm.state_dict()
    grouped = x.unflatten(0, (groups, -1))
    mean = grouped.mean(dim=(1, 2, 3), keepdim=True)
    variance = grouped.var(dim=(1, 2, 3), keepdim=True, unbiased=False)
    scaled = ((grouped - mean) / (variance + 1e-5).sqrt()).flatten(0, 1)
    return scaled * state["weight"][:, None, None] + state["bias"][:, None, None]


def stage_written_out(stage: UpStage, x: Tensor, skip: Tensor, groups: int) -> Tensor:
    """One stage for one class of one picture, with the concatenation built."""
    x = F.interpolate(x[None], scale_factor=2, mode="bilinear")
    skip = F.interpolate(stage.project(skip[None]).clamp(min=0), x.shape[2:], mode="bilinear")
    x = F.conv2d(torch.cat([x, skip], dim=1), stage.conv1.weight, padding=1)[0]
    x = grouped_norm(x, groups, stage.norm1).clamp(min=0)
    x = F.conv2d(x[None], stage.conv2.weight, padding=1)[0]
    return grouped_norm(x, groups, stage.norm2).clamp(min=0)


@torch.no_grad()
def test_logits_are_those_of_the_explicit_concatenation(
    decoder: Decoder, state: Tensor, skips: tuple[Tensor, Tensor]
) -> None:
    found = decoder(state, skips)
    assert found.shape == (B, N, 4 * h, 4 * w)
    first, second = decoder.stages
    assert isinstance(first, UpStage)
    assert isinstance(second, UpStage)
    for b in range(B):
        for n in range(N):
            x = stage_written_out(first, state[b, n].permute(2, 0, 1), skips[0][b], groups=2)
            x = stage_written_out(second, x, skips[1][b], groups=1)
            expected = F.conv2d(x[None], decoder.head.weight, decoder.head.bias, padding=1)[0, 0]
            torch.testing.assert_close(found[b, n], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("class_chunk", [1, 2, 3, 7])
def test_chunks_of_classes_change_nothing(
    decoder: Decoder, state: Tensor, skips: tuple[Tensor, Tensor], class_chunk: int
) -> None:
    whole = decoder(state, skips)
    torch.testing.assert_close(decoder(state, skips, class_chunk), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_reordering_the_classes_reorders_the_logits(
    decoder: Decoder, state: Tensor, skips: tuple[Tensor, Tensor]
) -> None:
    order = [1, 2, 0]
    torch.testing.assert_close(decoder(state[:, order], skips), decoder(state, skips)[:, order])


@torch.no_grad()
def test_both_skips_reach_the_logits(
    decoder: Decoder, state: Tensor, skips: tuple[Tensor, Tensor]
) -> None:
    whole = decoder(state, skips)
    assert not torch.allclose(decoder(state, (0 * skips[0], skips[1])), whole)
    assert not torch.allclose(decoder(state, (skips[0], 0 * skips[1])), whole)
