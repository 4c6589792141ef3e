"""The image side of the built-in model: two nets, and what is read out of them.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, V the ViT's layers, S channels of a
summary.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from escnet.mini.detail import DetailBranch
from escnet.mini.efficientnet_lite import (
    DEEP_CHANNELS,
    EIGHTH_CHANNELS,
    HALF_CHANNELS,
    HEAD_CHANNELS,
    NUM_LABELS,
    QUARTER_CHANNELS,
    SIXTEENTH_CHANNELS,
    EfficientNetLite,
)
from escnet.towers.dinov2 import dinov2_maps
from escnet.towers.patches import Patches
from escnet.towers.resize import resized
from escnet.towers.tower import VisionTower, grid_of, normalised

_LITE_MEAN = (127 / 255,) * 3
_LITE_DEVIATION = (128 / 255,) * 3
_FIRST_LABEL_GAIN = 3.0  # at the start the classifier's word counts
_LEAST_SHARE = 1e-5  # of a label; keeps its logarithm finite


@dataclass(frozen=True, kw_only=True)
class MiniPatches(Patches):
    """A picture as the two nets see it.

    Attributes:
        edges: A map of half the picture's resolution, which guides the upsampling of the logits.
        summary: Of the whole picture, as one vector.
        detail: Pixel embeddings on a fine grid (`detail.py`); None without a branch for them, or
            where feature maps were given instead of a picture.
        inner: What the joint embeddings were made of, where SAM is to see that instead
            (docs/paper-notes.md, note 9).
    """

    edges: Float[Tensor, "B _ _ _"]
    summary: Float[Tensor, "B S"]
    detail: Float[Tensor, "B _ _ _"] | None = None
    inner: Float[Tensor, "B _ h w"] | None = None

    @property
    def sam_input(self) -> Float[Tensor, "B _ h w"]:
        """What SAM's blocks see of the picture."""
        return self.joint if self.inner is None else self.inner


class PairedMaps(NamedTuple):
    """Feature maps of the built-in model's two nets."""

    vit: Float[Tensor, "B V h w"]
    sixteenth: Float[Tensor, "B 120 h w"]
    deep: Float[Tensor, "B 352 _ _"]
    head: Float[Tensor, "B 1280 _ _"]
    eighth: Float[Tensor, "B 48 _ _"]
    quarter: Float[Tensor, "B 24 _ _"]
    half: Float[Tensor, "B 16 _ _"]


class PairedVision(VisionTower):
    """The eye of the built-in model: a DINOv2-like ViT and EfficientNet-Lite2 side by side.

    The ViT knows parts and objects, the convolutional net knows ImageNet's thousand things: its
    classifier is applied at every place, and the mean of the names' text embeddings, weighted by
    their probability, is added to the patch embedding, so that a name close to one of the
    thousand is found without having been trained.

    Args:
        config: Of transformers' `Dinov2Model`.
        layers: Its blocks that are read, counted from 1.
        joint_dim: D.
        head_dim: Inner width of the map to the joint space.
        patch_size: Pixels of the picture for one patch; the ViT sees the picture shrunk so that
            its own patches cover the same places.
        has_detail: Whether there is a branch for thin and small things (`detail.py`).
        gives_inner: Whether the nets' own maps are given beside the patch embeddings.
    """

    skip_channels = (EIGHTH_CHANNELS, QUARTER_CHANNELS)
    edge_channels = HALF_CHANNELS

    def __init__(
        self,
        config: dict[str, Any],
        *,
        layers: tuple[int, ...],
        joint_dim: int,
        head_dim: int,
        patch_size: int,
        has_detail: bool = False,
        gives_inner: bool = False,
    ) -> None:
        super().__init__()
        self.vit = Dinov2Model(Dinov2Config(**config))
        self.net = EfficientNetLite()
        self.layers = layers
        self.patch_size = patch_size
        width = self.vit.config.hidden_size
        self.head = JointHead(len(layers) * width, joint_dim, head_dim)
        self.gives_inner = gives_inner
        self.sam_channels = self.head.in_channels if gives_inner else joint_dim
        self.summary_channels = (len(layers) + 1) * width + 2 * (HEAD_CHANNELS + NUM_LABELS)
        self.detail = None
        if has_detail:
            self.detail = DetailBranch(vit_channels=len(layers) * width, joint_dim=joint_dim)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> MiniPatches:
        maps = self.read(image)
        patches = self.project(maps)
        if self.detail is None:
            return patches
        return replace(patches, detail=self.look_closely(image, maps.vit, patches.joint))

    def read(self, image: Float[Tensor, "B 3 H W"]) -> PairedMaps:
        """What the two nets see.

        Args:
            image: In [0, 1].
        """
        h, w = grid_of(image, self.patch_size)
        own = self.vit.config.patch_size
        shrunk = resized(image, (h * own, w * own))
        vit = torch.cat(dinov2_maps(self.vit, shrunk, self.layers), dim=1)
        maps = self.net(normalised(image, _LITE_MEAN, _LITE_DEVIATION))
        return PairedMaps(
            vit, maps.sixteenth, maps.deep, maps.head, maps.eighth, maps.quarter, maps.half
        )

    def look_closely(
        self,
        image: Float[Tensor, "B 3 H W"],
        vit: Float[Tensor, "B V _ _"],
        joint: Float[Tensor, "B D _ _"],
    ) -> Float[Tensor, "B _ _ _"]:
        """Pixel embeddings, by the branch that there must be.

        Args:
            image: In [0, 1]; it may be a part of the picture.
            vit: The ViT's layers of the same part, as `read` gives them.
            joint: Patch embeddings of it.
        """
        branch = cast("DetailBranch", self.detail)
        image = normalised(image, _LITE_MEAN, _LITE_DEVIATION)
        return branch(image, self.head.norms[0](vit), joint)

    def project(self, maps: PairedMaps) -> MiniPatches:
        """What `read` gave, carried into the joint space."""
        label = self.net.label_logits(maps.head).softmax(dim=1)
        normed = self.head.normed(maps.vit, maps.sixteenth, maps.deep, maps.head)
        joint = self.head(normed, label)
        summary = self._summary_of(maps, label)
        inner = None
        if self.gives_inner:
            size = (joint.shape[2], joint.shape[3])
            inner = torch.cat([resized(x, size) for x in normed], dim=1)
        return MiniPatches(
            joint, (maps.eighth, maps.quarter), edges=maps.half, summary=summary, inner=inner
        )

    def summarise(self, maps: PairedMaps) -> Float[Tensor, "B S"]:
        """What the whole picture is summed up as: the head has no part in it."""
        return self._summary_of(maps, self.net.label_logits(maps.head).softmax(dim=1))

    def _summary_of(
        self, maps: PairedMaps, label: Float[Tensor, "B 1000 _ _"]
    ) -> Float[Tensor, "B S"]:
        """Means and highest values of what both nets end in; the ViT's middle as means alone."""
        last = maps.vit[:, -self.vit.config.hidden_size :]
        means = [x.mean(dim=(2, 3)) for x in (maps.vit, maps.head)]
        highest = [x.amax(dim=(2, 3)) for x in (last, maps.head)]
        labels = [x.clamp(min=_LEAST_SHARE).log() for x in (label.mean((2, 3)), label.amax((2, 3)))]
        return torch.cat([*means, *highest, *labels], dim=1)


class JointHead(nn.Module):
    """Feature maps of both nets to patch embeddings: a linear map and one convolution."""

    label_embedding: Tensor

    def __init__(self, vit_channels: int, joint_dim: int, head_dim: int) -> None:
        super().__init__()
        channels = (vit_channels, SIXTEENTH_CHANNELS, DEEP_CHANNELS, HEAD_CHANNELS)
        self.in_channels = sum(channels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for width in channels)
        self.inputs = nn.ModuleList(
            nn.Conv2d(width, head_dim, 1) for width in (*channels, joint_dim)
        )
        self.mix = nn.Conv2d(head_dim, head_dim, 3, padding=1)
        self.nonlinear = nn.Conv2d(head_dim, joint_dim, 1)
        self.linear = nn.Conv2d(head_dim, joint_dim, 1)
        self.dropout = nn.Dropout2d(0.0)  # training sets its rate
        self.label_gain = nn.Parameter(torch.tensor(_FIRST_LABEL_GAIN))
        self.register_buffer("label_embedding", torch.randn(NUM_LABELS, joint_dim))

    def normed(
        self,
        vit: Float[Tensor, "B V h w"],
        sixteenth: Float[Tensor, "B 120 h w"],
        deep: Float[Tensor, "B 352 _ _"],
        head: Float[Tensor, "B 1280 _ _"],
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """The maps with every channel's mean and deviation taken out.

        Args:
            vit: The ViT's layers, one upon the other.
            sixteenth: Of the convolutional net, as are the next two.
            deep: Its last block.
            head: Its head convolution.
        """
        maps = (vit, sixteenth, deep, head)
        return [norm(x) for norm, x in zip(self.norms, maps, strict=True)]

    def forward(
        self,
        maps: list[Float[Tensor, "B _ _ _"]],
        label: Float[Tensor, "B 1000 _ _"],
    ) -> Float[Tensor, "B D h w"]:
        """Patch embeddings on the grid of the first map.

        Args:
            maps: As `normed` gives them.
            label: Probability of each of ImageNet's labels.
        """
        size = (maps[0].shape[2], maps[0].shape[3])
        named = torch.einsum("bkhw,kd->bdhw", label, self.label_embedding)
        total = torch.zeros((), device=label.device, dtype=maps[0].dtype)
        for project, x in zip(self.inputs, (*maps, named), strict=True):
            total = total + resized(project(self.dropout(x)), size)
        hidden = F.gelu(total)
        joint = self.nonlinear(F.gelu(self.mix(self.dropout(hidden)))) + self.linear(hidden)
        return joint + self.label_gain * resized(named, size)
