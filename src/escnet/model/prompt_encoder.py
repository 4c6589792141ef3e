"""SAM's prompt encoder: points, boxes and masks to embeddings (Kirillov et al., ICCV 2023).

One of the two parts of SAM that ESC-Net keeps (Sec. 3.4). Written anew because the original
serves one prompt set at a time on a fixed 64 x 64 grid; here every class of a batch brings its
own, on any grid. Parameter names are those of Meta's files.

The last layer of the mask path is linear, 16 to S channels. It is kept apart (`code`, `basis`),
so that the two-way transformer can work with 16 numbers a patch instead of S.

Sizes: S SAM's width, T prompts, M mask code channels, h x w patches.
"""

import math
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

_NEGATIVE, _POSITIVE, _CORNER, _OPPOSITE_CORNER = range(4)  # rows of SAM's point embeddings
_MASK_WIDTHS = (4, 16)  # channels after each halving of the mask


class MaskEmbedding(NamedTuple):
    """The dense prompt embedding of many masks: `code` times `basis` plus `offset`."""

    code: Float[Tensor, "*lead P M"]
    basis: Float[Tensor, "S M"]
    offset: Float[Tensor, " S"]


class PromptEncoder(nn.Module):
    """Prompts as SAM's transformer expects them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pe_layer = FourierPosition(width // 2)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width) for _ in range(4)])
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        first, second = _MASK_WIDTHS
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, first, 2, stride=2),
            ChannelNorm(first),
            nn.GELU(),
            nn.Conv2d(first, second, 2, stride=2),
            ChannelNorm(second),
            nn.GELU(),
            nn.Conv2d(second, width, 1),
        )

    def encode_points(
        self, point_xy: Float[Tensor, "*lead T 2"], is_valid: Bool[Tensor, "*lead T"]
    ) -> Float[Tensor, "*lead T S"]:
        """Foreground points as tokens; an invalid one becomes SAM's "not a point".

        Args:
            point_xy: Fractions of the picture: patch i of w is (i + 0.5) / w.
            is_valid: False where there is no point.
        """
        code = self.pe_layer(point_xy) + self._kind(_POSITIVE)[0]
        return torch.where(is_valid[..., None], code, self.not_a_point_embed.weight[0].to(code))

    def encode_boxes(
        self, box_xyxy: Float[Tensor, "*lead T 4"], is_valid: Bool[Tensor, "*lead T"]
    ) -> Float[Tensor, "*lead 2*T S"]:
        """Boxes as two corner tokens each."""
        corner = box_xyxy.unflatten(-1, (2, 2))  # (*lead, T, 2, 2)
        kind = torch.cat([self._kind(_CORNER), self._kind(_OPPOSITE_CORNER)])  # (2, S)
        code = self.pe_layer(corner) + kind  # (*lead, T, 2, S)
        code = torch.where(
            is_valid[..., None, None], code, self.not_a_point_embed.weight[0].to(code)
        )
        return code.flatten(-3, -2)

    def padding_token(self) -> Float[Tensor, "1 S"]:
        """The token that SAM appends where no box is given."""
        return self.not_a_point_embed.weight

    def encode_masks(self, mask: Float[Tensor, "J _ _"]) -> MaskEmbedding:
        """Mask logits, at four times the resolution of the patches, as dense prompt embeddings."""
        first = cast("nn.Conv2d", self.mask_downscaling[0])
        code = mask[:, None].to(first.weight.dtype)  # (J, 1, 4h, 4w); maps come in single precision
        for layer in list(self.mask_downscaling)[:-1]:
            code = layer(code)  # (J, M, h, w) at the end
        last = cast("nn.Conv2d", self.mask_downscaling[-1])
        return MaskEmbedding(
            code.flatten(2).transpose(1, 2), last.weight[:, :, 0, 0], self.mask_offset()
        )

    def mask_offset(self) -> Float[Tensor, " S"]:
        """What every mask adds to every patch: the bias of the mask path's last layer."""
        return cast("Tensor", self.mask_downscaling[-1].bias)

    def no_mask(self) -> Float[Tensor, " S"]:
        """The dense prompt embedding of every patch where no mask is given."""
        return self.no_mask_embed.weight[0]

    def image_position(self, height: int, width: int) -> Float[Tensor, "{height}*{width} S"]:
        """The positional encoding of a grid of patches, in reading order."""
        device = self.no_mask_embed.weight.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (h, w, 2)
        return self.pe_layer(grid).flatten(0, 1)

    def _kind(self, row: int) -> Float[Tensor, "1 S"]:
        """The embedding of a kind of point."""
        return cast("nn.Embedding", self.point_embeddings[row]).weight


class FourierPosition(nn.Module):
    """Random Fourier features of a place in the picture."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_features))

    def forward(self, place_xy: Float[Tensor, "*lead 2"]) -> Float[Tensor, "*lead S"]:
        # In single precision whatever the weights: a sine of a rounded phase is another place.
        matrix = self.positional_encoding_gaussian_matrix.float()
        with torch.autocast(place_xy.device.type, enabled=False):
            phase = 2 * math.pi * ((2 * place_xy.float() - 1) @ matrix)
        code = torch.cat([phase.sin(), phase.cos()], dim=-1)
        return code.to(self.positional_encoding_gaussian_matrix.dtype)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map (SAM's LayerNorm2d)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Float[Tensor, "J C h w"]) -> Float[Tensor, "J C h w"]:
        y = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)
