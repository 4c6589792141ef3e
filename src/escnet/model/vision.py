"""Vision towers: a picture to patch embeddings in the joint space, and two skips for the decoder.

All towers are transformers' own networks, but for EfficientNet-Lite; what is written here is how
dense embeddings are read out of them, and each tower's normalisation of pixels.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, V the tower's inner width, S channels
of a summary.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from escnet.model.detail import DetailBranch
from escnet.model.efficientnet_lite import (
    DEEP_CHANNELS,
    EIGHTH_CHANNELS,
    HALF_CHANNELS,
    HEAD_CHANNELS,
    NUM_LABELS,
    QUARTER_CHANNELS,
    SIXTEENTH_CHANNELS,
    EfficientNetLite,
)
from escnet.model.resize import resized
from escnet.towers.checks import check_taps
from escnet.towers.patches import Patches

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_LITE_MEAN = (127 / 255,) * 3
_LITE_DEVIATION = (128 / 255,) * 3
_FIRST_LABEL_GAIN = 3.0  # at the start the classifier's word counts
_LEAST_SHARE = 1e-5  # of a label; keeps its logarithm finite


class ClipVision(nn.Module):
    """CLIP's image tower with CAT-Seg's dense read-out.

    In the last block no patch looks at another: each takes its own value, projected, and the class
    token as residual (docs/paper-notes.md, note 24).

    Args:
        config: Of transformers' `CLIPVisionModelWithProjection`.
        taps: Two block indices, counted from 0, whose outputs are the skips: that of the decoder's
            coarser stage first.
    """

    edge_channels = 0
    summary_channels = 0

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        self.tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
        check_taps(taps, self.tower.config.num_hidden_layers)
        self.taps = taps
        width = self.tower.config.hidden_size
        self.skip_channels = (width, width)
        self.patch_size: int = self.tower.config.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        grid_hw = _grid(image, self.patch_size)
        inner = self.tower.vision_model
        hidden = inner(
            pixel_values=_normalise(image, _CLIP_MEAN, _CLIP_DEVIATION),
            interpolate_pos_encoding=True,
            output_hidden_states=True,
        ).hidden_states
        last = inner.encoder.layers[-1]
        x = hidden[-2]  # what enters the last block; (B, 1 + h*w, V)
        value = last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(x)))
        x = x[:, :1] + value
        x = x + last.mlp(last.layer_norm2(x))
        joint = self.tower.visual_projection(inner.post_layernorm(x))
        first, second = (_to_map(hidden[tap + 1], 1, grid_hw) for tap in self.taps)
        return Patches(_to_map(joint, 1, grid_hw), (first, second))


class SiglipVision(nn.Module):
    """SigLIP's image tower; every patch goes through the pooling head alone.

    The head's attention over a single token is its value path, so this is the embedding that the
    head would give if the picture were that patch.
    """

    edge_channels = 0
    summary_channels = 0

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        self.tower = SiglipVisionModel(SiglipVisionConfig(**config))
        check_taps(taps, self.tower.config.num_hidden_layers)
        self.taps = taps
        width = self.tower.config.hidden_size
        self.skip_channels = (width, width)
        self.patch_size: int = self.tower.config.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        grid_hw = _grid(image, self.patch_size)
        output = self.tower(
            pixel_values=_normalise(image, _HALF, _HALF),
            interpolate_pos_encoding=True,
            output_hidden_states=True,
        )
        head = getattr(self.tower, "vision_model", self.tower).head
        attention = head.attention
        width = attention.embed_dim
        value = F.linear(
            output.last_hidden_state,
            attention.in_proj_weight[2 * width :],
            attention.in_proj_bias[2 * width :],
        )
        x = attention.out_proj(value)
        x = x + head.mlp(head.layernorm(x))
        first, second = (_to_map(output.hidden_states[tap + 1], 0, grid_hw) for tap in self.taps)
        return Patches(_to_map(x, 0, grid_hw), (first, second))


class Dinov2Vision(nn.Module):
    """DINOv2 with one linear map from some of its layers to the joint space of a text tower.

    Args:
        config: Of transformers' `Dinov2Model`.
        layers: Blocks whose outputs are read, counted from 1.
        joint_dim: D.
        taps: Blocks whose outputs are the skips, counted from 0.
    """

    edge_channels = 0
    summary_channels = 0

    def __init__(
        self,
        config: dict[str, Any],
        *,
        layers: tuple[int, ...],
        joint_dim: int,
        taps: tuple[int, int],
    ) -> None:
        super().__init__()
        self.tower = Dinov2Model(Dinov2Config(**config))
        self.layers = layers
        check_taps(taps, self.tower.config.num_hidden_layers)
        self.taps = taps
        width = self.tower.config.hidden_size
        self.to_joint = nn.Conv2d(len(layers) * width, joint_dim, 1)
        self.skip_channels = (width, width)
        self.patch_size: int = self.tower.config.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        hidden = _dinov2_maps(self.tower, image, (*self.layers, *(tap + 1 for tap in self.taps)))
        read, (first, second) = hidden[: len(self.layers)], hidden[len(self.layers) :]
        return Patches(self.to_joint(torch.cat(read, dim=1)), (first, second))


class PairedMaps(NamedTuple):
    """Feature maps of the built-in model's two nets."""

    vit: Float[Tensor, "B V h w"]
    sixteenth: Float[Tensor, "B 120 h w"]
    deep: Float[Tensor, "B 352 _ _"]
    head: Float[Tensor, "B 1280 _ _"]
    eighth: Float[Tensor, "B 48 _ _"]
    quarter: Float[Tensor, "B 24 _ _"]
    half: Float[Tensor, "B 16 _ _"]


class PairedVision(nn.Module):
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
        self.inner_channels = self.head.in_channels
        self.gives_inner = gives_inner
        self.summary_channels = (len(layers) + 1) * width + 2 * (HEAD_CHANNELS + NUM_LABELS)
        self.detail = None
        if has_detail:
            self.detail = DetailBranch(vit_channels=len(layers) * width, joint_dim=joint_dim)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        maps = self.read(image)
        patches = self.project(maps)
        if self.detail is None:
            return patches
        return patches._replace(detail=self.look_closely(image, maps.vit, patches.joint))

    def read(self, image: Float[Tensor, "B 3 H W"]) -> PairedMaps:
        """What the two nets see.

        Args:
            image: In [0, 1].
        """
        h, w = _grid(image, self.patch_size)
        own = self.vit.config.patch_size
        shrunk = resized(image, (h * own, w * own))
        vit = torch.cat(_dinov2_maps(self.vit, shrunk, self.layers), dim=1)
        maps = self.net(_normalise(image, _LITE_MEAN, _LITE_DEVIATION))
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
        image = _normalise(image, _LITE_MEAN, _LITE_DEVIATION)
        return branch(image, self.head.norms[0](vit), joint)

    def project(self, maps: PairedMaps) -> Patches:
        """What `read` gave, carried into the joint space."""
        label = self.net.label_logits(maps.head).softmax(dim=1)
        normed = self.head.normed(maps.vit, maps.sixteenth, maps.deep, maps.head)
        joint = self.head(normed, label)
        summary = self._summarise(maps, label)
        inner = None
        if self.gives_inner:
            size = (joint.shape[2], joint.shape[3])
            inner = torch.cat([resized(x, size) for x in normed], dim=1)
        return Patches(joint, (maps.eighth, maps.quarter), maps.half, summary, inner=inner)

    def _summarise(
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


def _dinov2_maps(
    tower: Dinov2Model, image: Float[Tensor, "B 3 H W"], layers: tuple[int, ...]
) -> list[Float[Tensor, "B V h w"]]:
    """Outputs of some blocks, each through the tower's final norm."""
    grid_hw = _grid(image, tower.config.patch_size)
    hidden = tower(
        _normalise(image, _IMAGENET_MEAN, _IMAGENET_DEVIATION), output_hidden_states=True
    ).hidden_states
    return [_to_map(tower.layernorm(hidden[layer]), 1, grid_hw) for layer in layers]


def _normalise(
    image: Float[Tensor, "B 3 H W"],
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Float[Tensor, "B 3 H W"]:
    """Pixels in [0, 1] as the tower was trained to see them."""
    shift = torch.tensor(mean, device=image.device, dtype=image.dtype)[:, None, None]
    scale = torch.tensor(deviation, device=image.device, dtype=image.dtype)[:, None, None]
    return (image - shift) / scale


def _grid(image: Float[Tensor, "B 3 H W"], patch_size: int) -> tuple[int, int]:
    return image.shape[2] // patch_size, image.shape[3] // patch_size


def _to_map(
    token: Float[Tensor, "B T X"], num_leading: int, grid_hw: tuple[int, int]
) -> Float[Tensor, "B X h w"]:
    """Patch tokens as a map; leading tokens (the class token) are dropped."""
    return token[:, num_leading:].transpose(1, 2).unflatten(2, grid_hw)
