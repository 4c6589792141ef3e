"""Small networks whose every parameter matters, and what they are fed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.towers.patches import Patches

Stir = Callable[[nn.Module], None]
MakeNetwork = Callable[..., EscNet]
MakePatches = Callable[..., Patches]


@pytest.fixture
def tiny_network(stir: Stir) -> MakeNetwork:
    """Builds the tiny network with some settings of its own, always with the same weights."""

    def make(**settings: Any) -> EscNet:
        torch.manual_seed(0)
        network = EscNet(EscNetConfig.from_dict({**preset("tiny").to_dict(), **settings}))
        stir(network)
        return network.eval()

    return make


@pytest.fixture
def make_patches() -> MakePatches:
    """What the tiny network's vision tower might have given, for any grid."""

    def make(num_pictures: int = 2, h: int = 4, w: int = 4, seed: int = 1) -> Patches:
        generator = torch.Generator().manual_seed(seed)

        def draw(channels: int) -> Tensor:
            return torch.randn(num_pictures, channels, h, w, generator=generator)

        return Patches(draw(16), (draw(32), draw(32)))

    return make


@pytest.fixture
def text_embedding() -> Tensor:
    """Embeddings of seven names."""
    return torch.randn(7, 16, generator=torch.Generator().manual_seed(2))
