"""Patch embeddings completed by the tower's finer maps, for a correlation on the decoder's grid.

A patch has one embedding for all that lies within it, so a thing thinner than a patch has none of
its own. Here the embeddings are enlarged to the decoder's grid and get what two finer maps of the
tower add, still in the joint space: any class name can be compared with them, for the price of one
product. Not in the paper; see docs/paper-notes.md, note 28.

Sizes: B pictures, D joint space, h x w patches.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.resize import resized

_WIDTH = 96
_GROUPS = 6
_FACTORS = (2, 4)  # of the decoder's two grids


class FineEmbedding(nn.Module):
    """Embeddings four times as fine as the patches; starts as their enlargement.

    Args:
        joint_dim: D.
        skip_channels: Channels of the tower's two finer maps, the coarser first.
    """

    def __init__(self, *, joint_dim: int, skip_channels: tuple[int, int]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(joint_dim, _WIDTH, 1)
        self.skips = nn.ModuleList(
            nn.Sequential(nn.Conv2d(own, _WIDTH, 1), nn.GroupNorm(_GROUPS, _WIDTH))
            for own in skip_channels
        )
        self.mixes = nn.ModuleList(
            nn.Sequential(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.GroupNorm(_GROUPS, _WIDTH))
            for _ in skip_channels
        )
        self.head = nn.Conv2d(_WIDTH, joint_dim, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        joint: Float[Tensor, "B D h w"],
        skips: tuple[Float[Tensor, "B _ _ _"], Float[Tensor, "B _ _ _"]],
    ) -> Float[Tensor, "B D 4*h 4*w"]:
        """Embeddings of the decoder's places.

        Args:
            joint: Patch embeddings, of any length.
            skips: The tower's finer maps, the coarser first, of any resolution.
        """
        D, h, w = joint.shape[1:]
        unit = F.normalize(joint, dim=1)
        x = self.patches(unit * D**0.5)
        for project, mix, skip, factor in zip(self.skips, self.mixes, skips, _FACTORS, strict=True):
            size = (factor * h, factor * w)
            x = F.relu(mix(resized(x, size) + resized(project(skip), size)))
        return resized(unit, (x.shape[2], x.shape[3])) + self.head(x) / D**0.5
