"""EfficientNet-Lite2: the small convolutional tower of the built-in model.

EfficientNet without squeeze-and-excite and with ReLU6 (Tan and Le, ICML 2019; the "Lite" variant
of 2020). transformers has no such network, so this is the one tower written here. Names of the
parameters are those of the published PyTorch files, so that those load strictly.

Sizes: B pictures, H x W pixels; the maps have strides 2, 4, 8, 16 and 32.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_NORM_EPS = 1e-3  # TensorFlow's, with which the weights were trained

# Of each stage: blocks, kernel, stride, expansion, channels (depth 1.2 and width 1.1 applied).
_STAGES = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)
_STEM_CHANNELS = 32
NUM_LABELS = 1000

HALF_CHANNELS, QUARTER_CHANNELS, EIGHTH_CHANNELS, SIXTEENTH_CHANNELS = 16, 24, 48, 120
DEEP_CHANNELS, HEAD_CHANNELS = 352, 1280


class EfficientNetMaps(NamedTuple):
    """What one pass yields: maps from fine to coarse."""

    half: Float[Tensor, "B 16 _ _"]  # stride 2
    quarter: Float[Tensor, "B 24 _ _"]  # stride 4
    eighth: Float[Tensor, "B 48 _ _"]  # stride 8
    sixteenth: Float[Tensor, "B 120 _ _"]  # stride 16
    deep: Float[Tensor, "B 352 _ _"]  # stride 32, last block
    head: Float[Tensor, "B 1280 _ _"]  # stride 32, after the head convolution


class EfficientNetTrunk(nn.Module):
    """The stem and the first stages.

    Args:
        num_stages: Stages that there are.
    """

    def __init__(self, num_stages: int) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, _STEM_CHANNELS, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(_STEM_CHANNELS, eps=_NORM_EPS)
        blocks: list[nn.Module] = []
        width = _STEM_CHANNELS
        for num_blocks, kernel, stride, expansion, channels in _STAGES[:num_stages]:
            for index in range(num_blocks):
                blocks.append(
                    InvertedResidual(
                        width, channels, kernel, stride if index == 0 else 1, expansion
                    )
                )
                width = channels
        self._blocks = nn.ModuleList(blocks)

    def stages(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The last map of every stage.

        Args:
            image: Pixels normalised as (value - 127) / 128 of the 0-255 range.
        """
        x = F.relu6(self._bn0(self._conv_stem(image)))
        last_of_stage = []
        for block, following in zip(self._blocks, [*self._blocks[1:], None], strict=True):
            x = block(x)
            if following is None or following.changes_width:
                last_of_stage.append(x)
        return last_of_stage


class EfficientNetLite(EfficientNetTrunk):
    """EfficientNet-Lite2 as a feature pyramid, with its ImageNet-1k classifier."""

    def __init__(self) -> None:
        super().__init__(len(_STAGES))
        self._conv_head = nn.Conv2d(DEEP_CHANNELS, HEAD_CHANNELS, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(HEAD_CHANNELS, eps=_NORM_EPS)
        self._fc = nn.Linear(HEAD_CHANNELS, NUM_LABELS)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EfficientNetMaps:
        """The feature maps of a picture.

        Args:
            image: As in `stages`.
        """
        half, quarter, eighth, _, sixteenth, _, deep = self.stages(image)
        head = F.relu6(self._bn1(self._conv_head(deep)))
        return EfficientNetMaps(half, quarter, eighth, sixteenth, deep, head)

    def label_logits(self, head: Float[Tensor, "B 1280 h w"]) -> Float[Tensor, "B 1000 h w"]:
        """ImageNet-1k logits at every place of the head map, as if it were a picture of its own."""
        weight = self._fc.weight[:, :, None, None]
        return F.conv2d(head, weight, self._fc.bias)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to its input where the shape stays."""

    def __init__(self, width: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.changes_width = width != channels
        self.has_residual = stride == 1 and not self.changes_width
        self.has_expansion = expansion != 1
        if self.has_expansion:
            self._expand_conv = nn.Conv2d(width, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_NORM_EPS)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride=stride, groups=inner)
        self._bn1 = nn.BatchNorm2d(inner, eps=_NORM_EPS)
        self._project_conv = nn.Conv2d(inner, channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(channels, eps=_NORM_EPS)

    def forward(self, x: Float[Tensor, "B _ _ _"]) -> Float[Tensor, "B _ _ _"]:
        y = x
        if self.has_expansion:
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.has_residual else y


class SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow's "same": the odd pixel goes to the right and bottom."""

    def __init__(
        self, width: int, channels: int, kernel: int, *, stride: int, groups: int = 1
    ) -> None:
        super().__init__(width, channels, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ _ _"]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pad_h, pad_w = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:]
        )
        padding = (pad_h // 2, pad_w // 2)
        if pad_h % 2 or pad_w % 2:
            x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2))
            padding = (0, 0)
        if not self._has_slow_gradient(x):
            return F.conv2d(x, self.weight, None, self.stride, padding, 1, self.groups)
        with torch.autocast("cpu", enabled=False):
            y = F.conv2d(x.float(), self.weight, None, self.stride, padding, 1, self.groups)
        return y.to(x.dtype)

    def _has_slow_gradient(self, x: Float[Tensor, "B _ H W"]) -> bool:
        """Whether to compute in single precision, outside of autocast.

        On a processor the gradient of a channelwise convolution takes a third of the time in single
        precision.
        """
        is_trained = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        return (
            is_trained
            and self.groups > 1
            and x.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
        )
