from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.mini.upsampling import GuidedUpsampling
from escnet.weights.checkpoint import load_checkpoint
from tests.mini.conftest import MINI

B, N, H, W = 2, 3, 5, 4
FINE, COARSE = 6, 7


@pytest.fixture
def guided() -> GuidedUpsampling:
    torch.manual_seed(0)
    return GuidedUpsampling(fine_channels=FINE, coarse_channels=COARSE)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(B, N, H, W, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    fine = torch.randn(B, FINE, 2 * H, 2 * W, generator=generator)
    return fine, torch.randn(B, COARSE, H, W, generator=generator)


@torch.no_grad()
def test_it_starts_close_to_bilinear_interpolation(
    guided: GuidedUpsampling, logits: Tensor, maps: tuple[Tensor, Tensor]
) -> None:
    bilinear = F.interpolate(logits, scale_factor=2, mode="bilinear")
    error = (guided(logits, *maps) - bilinear).abs().mean()
    nearest = F.interpolate(logits, scale_factor=2, mode="nearest")
    assert error < 0.1 * (nearest - bilinear).abs().mean()


@torch.no_grad()
def test_every_fine_place_lies_between_the_nine_coarse_ones_around_it(
    guided: GuidedUpsampling, logits: Tensor, maps: tuple[Tensor, Tensor]
) -> None:
    torch.nn.init.normal_(guided.head.weight, std=3.0)  # weights far from where they begin
    found = guided(logits, *maps)
    padded = F.pad(logits, (1, 1, 1, 1), mode="replicate")
    highest = F.max_pool2d(padded, 3, stride=1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    lowest = -F.max_pool2d(-padded, 3, stride=1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert found.shape == (B, N, 2 * H, 2 * W)
    assert (found <= highest + 1e-5).all()
    assert (found >= lowest - 1e-5).all()
    bilinear = F.interpolate(logits, scale_factor=2, mode="bilinear")
    assert (found - bilinear).abs().mean() > 0.2


@torch.no_grad()
@pytest.mark.parametrize(
    ("neighbour", "down", "right"), [(0, -1, -1), (3, 0, -1), (4, 0, 0), (7, 1, 0)]
)
def test_one_neighbour_alone_is_the_map_shifted(
    guided: GuidedUpsampling,
    logits: Tensor,
    maps: tuple[Tensor, Tensor],
    neighbour: int,
    down: int,
    right: int,
) -> None:
    guided.head.bias[neighbour] = 100.0
    found = guided(logits, *maps)
    rows = (torch.arange(2 * H) // 2 + down).clamp(0, H - 1)
    columns = (torch.arange(2 * W) // 2 + right).clamp(0, W - 1)
    torch.testing.assert_close(found, logits[:, :, rows][:, :, :, columns])


@torch.no_grad()
def test_a_name_is_enlarged_the_same_whatever_stands_beside_it(
    guided: GuidedUpsampling, logits: Tensor, maps: tuple[Tensor, Tensor]
) -> None:
    torch.nn.init.normal_(guided.head.weight)
    whole = guided(logits, *maps)
    for name in range(N):
        alone = guided(logits[:, name : name + 1], *maps)
        torch.testing.assert_close(alone[:, 0], whole[:, name])
    for class_chunk in (1, 2, 7):
        torch.testing.assert_close(guided(logits, *maps, class_chunk), whole)


@torch.no_grad()
def test_maps_of_another_resolution_are_resized(
    guided: GuidedUpsampling, logits: Tensor, maps: tuple[Tensor, Tensor]
) -> None:
    fine, coarse = maps
    found = guided(logits, fine[:, :, :7, :7], coarse[:, :, :2, :3])
    assert found.shape == (B, N, 2 * H, 2 * W)


def test_it_learns_an_edge_that_the_coarse_grid_cannot_hold(guided: GuidedUpsampling) -> None:
    """A line one fine place wide, which the picture shows: bilinear logits are too wide."""
    side = 16
    truth = torch.zeros(1, 1, side, side)
    truth[..., 6] = 1.0
    fine = truth.expand(1, FINE, side, side).contiguous()
    logits = 8 * F.avg_pool2d(truth, 2) - 2
    coarse = torch.zeros(1, COARSE, side // 2, side // 2)
    optimiser = torch.optim.Adam(guided.parameters(), lr=1e-2)
    losses = []
    for _ in range(80):
        loss = F.binary_cross_entropy_with_logits(guided(logits, fine, coarse), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    bilinear = F.interpolate(logits, scale_factor=2, mode="bilinear")
    assert losses[-1] < 0.6 * F.binary_cross_entropy_with_logits(bilinear, truth).item()
    assert ((guided(logits, fine, coarse) > 0) == (truth > 0)).all()


@torch.no_grad()
def test_a_loaded_network_enlarges_as_the_saved_one_did(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Mini(MiniConfig(**{**MINI, "upsampling": "guided"})).eval()
    network.save_pretrained(tmp_path)
    image, text = torch.rand(1, 3, 64, 64), torch.randn(N, 16)
    expected = network(image, text)
    assert expected.shape == (1, N, 32, 32)
    for loaded in (Mini.from_pretrained(tmp_path), load_checkpoint(tmp_path)):
        torch.testing.assert_close(loaded.eval()(image, text), expected, atol=1e-6, rtol=0)
