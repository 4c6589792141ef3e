"""CAT-Seg's decoder: class states and two maps of the tower to logits, by transposed convolutions.

It differs from ESC-Net's decoder (`model/decoder.py`) in how maps grow, and so in its weights. As
there, a convolution over a concatenation is a sum of two, so the skips' half is computed once for
all classes.

Sizes: B pictures, N classes, C hidden width, h x w patches.
"""

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.decoder import SkipStage, decode_classes


class CatSegDecoder(nn.Module):
    """Logits on a grid four times as fine as the patches.

    Args:
        hidden_dim: C.
        tower_dim: Channels of the tower's two maps.
        skip_channels: Channels of the two after their upsampling, the coarser stage's first.
        skip_dims: Channels that each is then projected to.
        dims: Channels of the two stages.
    """

    def __init__(
        self,
        *,
        hidden_dim: int,
        tower_dim: int,
        skip_channels: tuple[int, int],
        skip_dims: tuple[int, int],
        dims: tuple[int, int],
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            GrowingStage(width, tower_dim, skip_channel, skip_dim, dim, factor)
            for width, skip_channel, skip_dim, dim, factor in zip(
                (hidden_dim, dims[0]), skip_channels, skip_dims, dims, (2, 4), strict=True
            )
        )
        self.head = nn.Conv2d(dims[1], 1, 3, padding=1)

    def forward(
        self,
        state: Float[Tensor, "B N h w C"],
        skips: tuple[Float[Tensor, "B V h w"], Float[Tensor, "B V h w"]],
        class_chunk: int | None = None,
    ) -> Float[Tensor, "B N 4*h 4*w"]:
        """Logits of every class.

        Args:
            state: Class states after the last layer.
            skips: The tower's maps, the coarser stage's first.
            class_chunk: Classes worked on at a time; None for all.
        """
        shared = [
            cast("GrowingStage", stage).share(skip)
            for stage, skip in zip(self.stages, skips, strict=True)
        ]
        return decode_classes(state, self.stages, shared, self.head, class_chunk)


class GrowingStage(SkipStage):
    """A transposed convolution to twice the size, a skip, two convolutions.

    Args:
        width: Channels that come in; the skip takes the place of some of them.
        tower_dim: Channels of the tower's map.
        skip_channel: Its channels after it has grown.
        skip_dim: Its channels after the projection.
        dim: Channels that go out.
        factor: How much the tower's map has to grow.
    """

    def __init__(
        self,
        width: int,
        tower_dim: int,
        skip_channel: int,
        skip_dim: int,
        dim: int,
        factor: int,
    ) -> None:
        super().__init__(width - skip_dim, skip_dim, dim)
        self.grow_skip = nn.ConvTranspose2d(tower_dim, skip_channel, factor, stride=factor)
        self.project = nn.Conv2d(skip_channel, skip_dim, 3, padding=1)
        self.grow = nn.ConvTranspose2d(width, self.own, 2, stride=2)

    def share(self, skip: Float[Tensor, "B V h w"]) -> Float[Tensor, "B _ _ _"]:
        """What every class takes of the skip."""
        return self.share_projected(F.relu(self.project(self.grow_skip(skip))))

    def forward(
        self, x: Float[Tensor, "_ _ _ _"], shared: Float[Tensor, "B _ H W"]
    ) -> Float[Tensor, "_ _ H W"]:
        return self.convolve(self.grow(x), shared)
