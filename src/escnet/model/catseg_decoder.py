"""CAT-Seg's decoder: class states and two maps of the tower to logits, by transposed convolutions.

It differs from ESC-Net's decoder (`model/decoder.py`) in how maps grow, and so in its weights. As
there, a convolution over a concatenation is a sum of two, so the skips' half is computed once for
all classes.

Sizes: B pictures, N classes, C hidden width, h x w patches.
"""

from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.chunks import class_chunks

_CHANNELS_PER_GROUP = 16


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
        B, N = state.shape[:2]
        shared = [
            cast("GrowingStage", stage).share(skip)
            for stage, skip in zip(self.stages, skips, strict=True)
        ]
        logits = []
        for chunk in class_chunks(N, class_chunk):
            x = rearrange(state[:, chunk], "B n h w C -> (B n) C h w")
            for stage, skip in zip(self.stages, shared, strict=True):
                x = stage(x, skip)
            logits.append(self.head(x).unflatten(0, (B, -1))[:, :, 0])
        return logits[0] if len(logits) == 1 else torch.cat(logits, dim=1)


class GrowingStage(nn.Module):
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
        super().__init__()
        self.own = width - skip_dim
        self.grow_skip = nn.ConvTranspose2d(tower_dim, skip_channel, factor, stride=factor)
        self.project = nn.Conv2d(skip_channel, skip_dim, 3, padding=1)
        self.grow = nn.ConvTranspose2d(width, self.own, 2, stride=2)
        self.conv1 = nn.Conv2d(width, dim, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(dim // _CHANNELS_PER_GROUP, dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(dim // _CHANNELS_PER_GROUP, dim)

    def share(self, skip: Float[Tensor, "B V h w"]) -> Float[Tensor, "B _ _ _"]:
        """The skip's half of the first convolution, the same for every class."""
        skip = F.relu(self.project(self.grow_skip(skip)))
        return F.conv2d(skip, self.conv1.weight[:, self.own :], padding=1)

    def forward(
        self, x: Float[Tensor, "_ _ _ _"], shared: Float[Tensor, "B _ H W"]
    ) -> Float[Tensor, "_ _ H W"]:
        x = F.conv2d(self.grow(x), self.conv1.weight[:, : self.own], padding=1)
        x = (x.unflatten(0, (shared.shape[0], -1)) + shared[:, None]).flatten(0, 1)
        x = F.relu(self.norm1(x))
        return F.relu(self.norm2(self.conv2(x)))
