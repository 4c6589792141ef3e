"""Logits enlarged along the edges of the picture, at a cost that the class names do not add to.

The paper enlarges the decoder's logits bilinearly, whatever the picture shows there. Here every
fine place takes a weighted mean of the nine coarse places around it, as RAFT enlarges its flow
(Teed and Deng, ECCV 2020, Sec. 3.3), with weights that are read off the picture once for all
classes. So a boundary can follow an edge that the coarse grid cannot hold, for names never trained
as well. See docs/paper-notes.md, note 26.

Sizes: B pictures, N class names, H x W coarse places; the factor is 2.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.chunks import chunk_in_cache, class_chunks
from escnet.towers.resize import resized

_FACTOR = 2
_WIDTH = 32
_NEIGHBOURS = 9
_LEAST_WEIGHT = 0.01  # at the start, of a neighbour that bilinear interpolation leaves out


class GuidedUpsampling(nn.Module):
    """Logits on a grid twice as fine; starts as bilinear interpolation, nearly.

    Args:
        fine_channels: Of the guiding map with the fine grid.
        coarse_channels: Of the guiding map with the coarse grid, which sees further.
    """

    def __init__(self, *, fine_channels: int, coarse_channels: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine_channels, _WIDTH, 3, padding=1)
        self.coarse = nn.Conv2d(coarse_channels, _WIDTH, 1, bias=False)
        self.mix = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.head = nn.Conv2d(_WIDTH, _NEIGHBOURS, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        logits: Float[Tensor, "B N H W"],
        fine: Float[Tensor, "B _ _ _"],
        coarse: Float[Tensor, "B _ _ _"],
        class_chunk: int | None = None,
    ) -> Float[Tensor, "B N 2*H 2*W"]:
        """The logits of every class, enlarged.

        Args:
            logits: As the decoder gives them.
            fine: A map of the tower, on the fine grid or resized to it.
            coarse: Another, on the coarse grid or resized to it.
            class_chunk: Classes worked on at a time; None for all.
        """
        N, H, W = logits.shape[1:]
        weight = self._weights(fine, coarse, (_FACTOR * H, _FACTOR * W))
        enlarged = [
            _enlarged(logits[:, chunk].float(), weight)
            for chunk in class_chunks(N, chunk_in_cache(class_chunk, logits.device))
        ]
        return enlarged[0] if len(enlarged) == 1 else torch.cat(enlarged, dim=1)

    def _weights(
        self,
        fine: Float[Tensor, "B _ _ _"],
        coarse: Float[Tensor, "B _ _ _"],
        size: tuple[int, int],
    ) -> Float[Tensor, "B 9 _ 2 _ 2"]:
        """Of the nine neighbours for every fine place; they sum to one."""
        x = resized(self.fine(fine), size) + resized(self.coarse(coarse), size)
        x = self.head(F.relu(self.mix(F.relu(x))))
        x = rearrange(x, "B k (H f) (W g) -> B k H f W g", f=_FACTOR, g=_FACTOR)
        # Not a buffer: what a checkpoint does not hold, transformers leaves without a value.
        start = _bilinear_logits().to(x.device)
        return (x.float() + start[None, :, None, :, None, :]).softmax(dim=1)


def _enlarged(
    logits: Float[Tensor, "B n H W"], weight: Float[Tensor, "B 9 H 2 W 2"]
) -> Float[Tensor, "B n 2*H 2*W"]:
    """The weighted mean of the nine neighbours of every fine place; the border repeats itself."""
    H, W = logits.shape[-2:]
    padded = F.pad(logits, (1, 1, 1, 1), mode="replicate")
    total = torch.zeros((), device=logits.device)
    for index in range(_NEIGHBOURS):
        down, right = divmod(index, 3)
        # (B, n, H, 1, W, 1) times (B, 1, H, 2, W, 2)
        near = padded[:, :, down : down + H, None, right : right + W, None]
        total = total + near * weight[:, index, None]
    return rearrange(total, "B n H f W g -> B n (H f) (W g)")


def _bilinear_logits() -> Float[Tensor, "9 2 2"]:
    """The logarithm of bilinear interpolation's weights, for each place within a coarse one."""
    one = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])  # (2, 3): before, here, behind
    weight = torch.einsum("fi,gj->ijfg", one, one).flatten(0, 1)
    return weight.clamp(min=_LEAST_WEIGHT).log()
