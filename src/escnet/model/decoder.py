"""Mask decoder: class states and intermediate maps of the tower to logits (Sec. 3.6).

Two stages of bilinear upsampling, each joined by a skip of the tower and followed by two 3 x 3
convolutions. A convolution over a concatenation is a sum of two convolutions, so the skips' half is
computed once for all classes. See docs/paper-notes.md, note 17.

Sizes: B pictures, N class names, C hidden width, h x w patches.
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.chunks import chunk_in_cache, class_chunks
from escnet.towers.resize import resized

_CHANNELS_PER_GROUP = 16


class Decoder(nn.Module):
    """Logits on a grid four times as fine as the patches.

    Args:
        hidden_dim: C.
        skip_channels: Channels of the tower's two maps, the coarser stage's first.
        skip_dims: Channels that each skip is projected to.
        dims: Channels of the two stages.
    """

    def __init__(
        self,
        *,
        hidden_dim: int,
        skip_channels: tuple[int, int],
        skip_dims: tuple[int, int],
        dims: tuple[int, int],
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            UpStage(width, skip_channel, skip_dim, dim)
            for width, skip_channel, skip_dim, dim in zip(
                (hidden_dim, dims[0]), skip_channels, skip_dims, dims, strict=True
            )
        )
        self.head = nn.Conv2d(dims[1], 1, 3, padding=1)

    def forward(
        self,
        state: Float[Tensor, "B N h w C"],
        skips: tuple[Float[Tensor, "B _ _ _"], Float[Tensor, "B _ _ _"]],
        class_chunk: int | None = None,
    ) -> Float[Tensor, "B N 4*h 4*w"]:
        """Logits of every class.

        Args:
            state: Class states after the last block.
            skips: The tower's maps, the coarser stage's first, of any resolution.
            class_chunk: Classes worked on at a time; None for all.
        """
        h, w = state.shape[2:4]
        shared = [
            cast("UpStage", stage).share(skip, (h * factor, w * factor))
            for stage, skip, factor in zip(self.stages, skips, (2, 4), strict=True)
        ]
        return decode_classes(state, self.stages, shared, self.head, class_chunk)


def decode_classes(
    state: Float[Tensor, "B N h w C"],
    stages: Iterable[nn.Module],
    shared: Sequence[Float[Tensor, "B _ _ _"]],
    head: nn.Conv2d,
    class_chunk: int | None,
) -> Float[Tensor, "B N 4*h 4*w"]:
    """The logits of every class, by stages whose skips' halves are at hand."""
    B, N = state.shape[:2]
    logits = []
    for chunk in class_chunks(N, chunk_in_cache(class_chunk, state.device)):
        x = rearrange(state[:, chunk], "B n h w C -> (B n) C h w")
        for stage, skip in zip(stages, shared, strict=True):
            x = stage(x, skip)
        logits.append(head(x).unflatten(0, (B, -1))[:, :, 0])
    return logits[0] if len(logits) == 1 else torch.cat(logits, dim=1)


class SkipStage(nn.Module):
    """Two convolutions, the first over a class's own channels and those of a skip.

    Args:
        own: The class's channels, which come first.
        skip_dim: The skip's.
        dim: Channels that go out.
    """

    def __init__(self, own: int, skip_dim: int, dim: int) -> None:
        super().__init__()
        self.own = own
        self.conv1 = nn.Conv2d(own + skip_dim, dim, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(norm_groups(dim), dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(norm_groups(dim), dim)

    def share_projected(self, skip: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ H W"]:
        """The skip's half of the first convolution, the same for every class."""
        shared = F.conv2d(skip, self.conv1.weight[:, self.own :], padding=1)
        # As the class states are laid out: with channels last a stage takes two thirds of the time.
        return shared.contiguous(memory_format=torch.channels_last)

    def convolve(
        self, x: Float[Tensor, "_ _ H W"], shared: Float[Tensor, "B _ H W"]
    ) -> Float[Tensor, "_ _ H W"]:
        """Both convolutions of classes' own channels, with the skips' half added to the first."""
        x = F.conv2d(x, self.conv1.weight[:, : self.own], padding=1)
        x = (x.unflatten(0, (shared.shape[0], -1)) + shared[:, None]).flatten(0, 1)
        x = F.relu(self.norm1(x))
        return F.relu(self.norm2(self.conv2(x)))


class UpStage(SkipStage):
    """Bilinear upsampling by two, a skip, two convolutions."""

    def __init__(self, width: int, skip_channel: int, skip_dim: int, dim: int) -> None:
        super().__init__(width, skip_dim, dim)
        self.project = nn.Conv2d(skip_channel, skip_dim, 3, padding=1)

    def share(
        self, skip: Float[Tensor, "B _ _ _"], size_hw: tuple[int, int]
    ) -> Float[Tensor, "B _ H W"]:
        """What every class takes of the skip."""
        return self.share_projected(resized(F.relu(self.project(skip)), size_hw))

    def forward(
        self, x: Float[Tensor, "_ _ _ _"], shared: Float[Tensor, "B _ H W"]
    ) -> Float[Tensor, "_ _ H W"]:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.convolve(x, shared)


def norm_groups(dim: int) -> int:
    """Groups that a stage's channels are normalised in."""
    return max(1, dim // _CHANNELS_PER_GROUP)
