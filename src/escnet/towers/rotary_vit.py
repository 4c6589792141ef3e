"""Vision transformers with rotary positions: the image towers of EVA02-CLIP and of PE-Core.

EVA-02 (Fang et al., 2023) has gated feed-forward layers, a norm inside of each branch, and a class
token that is projected. The Perception Encoder (Bolya et al., 2025) has CLIP's blocks, a norm in
front of them, and a pooling head. In both, queries and keys are turned by their patch's place.

Sizes: B pictures, H x W pixels, h x w patches, V inner width, T tokens, G heads, E width of a head.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PretrainedConfig

_TEMPERATURE = 10_000.0  # of the rotary frequencies, as in texts
_POOLING_RATIO = 4  # inner width of the pooling head's feed-forward layer, in multiples of V


class RotaryVitConfig(PretrainedConfig):
    """Settings of such a transformer.

    Attributes:
        family: "eva02" or "pe_core".
        rope_side: Patches along one side of the picture that places are counted on, whatever the
            number of patches.
        rope_start: The place of the first patch.
        class_token: Whether a token for the whole picture stands before the patches.
        image_mean: Of the pixels, in [0, 1], by channel.
        image_std: Their deviation.
    """

    model_type = "rotary_vit"

    def __init__(  # noqa: PLR0913 -- one line a setting
        self,
        *,
        family: str = "eva02",
        hidden_size: int = 768,
        intermediate_size: int = 2048,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        image_size: int = 224,
        patch_size: int = 16,
        projection_dim: int = 512,
        rope_side: int = 16,
        rope_start: int = 0,
        class_token: bool = True,
        layer_norm_eps: float = 1e-6,
        image_mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        image_std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
        **kwargs: Any,
    ) -> None:
        self.family = family
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.image_size = image_size
        self.patch_size = patch_size
        self.projection_dim = projection_dim
        self.rope_side = rope_side
        self.rope_start = rope_start
        self.class_token = class_token
        self.layer_norm_eps = layer_norm_eps
        self.image_mean = tuple(image_mean)
        self.image_std = tuple(image_std)
        super().__init__(**kwargs)


class Rotation(NamedTuple):
    """By which angles the tokens' queries and keys are turned, pair after pair of their values."""

    cosine: Float[Tensor, "T E"]
    sine: Float[Tensor, "T E"]


class RotaryVit(nn.Module):
    """The transformer, up to its last norm.

    Args:
        config: Its settings.
    """

    def __init__(self, config: RotaryVitConfig) -> None:
        super().__init__()
        self.config = config
        width, eps = config.hidden_size, config.layer_norm_eps
        is_pe = config.family == "pe_core"
        self.leading = int(config.class_token)
        self.patch_embedding = nn.Conv2d(
            3, width, config.patch_size, stride=config.patch_size, bias=not is_pe
        )
        if config.class_token:
            self.class_embedding = nn.Parameter(torch.zeros(1, 1, width))
        side = config.image_size // config.patch_size
        self.position_embedding = nn.Parameter(0.02 * torch.randn(1, self.leading + side**2, width))
        self.pre_layernorm = nn.LayerNorm(width, eps=eps) if is_pe else nn.Identity()
        self.layers = nn.ModuleList(RotaryBlock(config) for _ in range(config.num_hidden_layers))
        self.post_layernorm = nn.LayerNorm(width, eps=eps)

    def forward(self, pixel: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B T V"]]:
        """What enters the first block, and what leaves each.

        Args:
            pixel: Normalised as the tower was trained to see it.
        """
        patch = self.patch_embedding(pixel)  # (B, V, h, w)
        grid_hw = (patch.shape[2], patch.shape[3])
        x = patch.flatten(2).mT  # (B, T, V)
        if self.leading:
            x = torch.cat([self.class_embedding.expand(len(x), -1, -1), x], dim=1)
        hidden = [self.pre_layernorm(x + self._positions(grid_hw))]
        rotation = self._rotation(grid_hw, pixel.device)
        for layer in self.layers:
            hidden.append(layer(hidden[-1], rotation))
        return hidden

    def _positions(self, grid_hw: tuple[int, int]) -> Float[Tensor, "1 T V"]:
        """The learned positions on a grid of that size."""
        own, patches = self.position_embedding, self.position_embedding[:, self.leading :]
        side = self.config.image_size // self.config.patch_size
        if grid_hw == (side, side):
            return own
        grid = rearrange(patches, "1 (h w) V -> 1 V h w", h=side)
        grid = F.interpolate(grid, grid_hw, mode="bicubic", antialias=True)
        return torch.cat([own[:, : self.leading], grid.flatten(2).mT], dim=1)

    def _rotation(self, grid_hw: tuple[int, int], device: torch.device) -> Rotation:
        """The angles of each patch: half of a head's pairs by its row, half by its column."""
        config = self.config
        num_bands = config.hidden_size // config.num_attention_heads // 4
        frequency = _TEMPERATURE ** -(torch.arange(num_bands, device=device) / num_bands)
        row, column = (
            (torch.arange(count, device=device) + config.rope_start) / count * config.rope_side
            for count in grid_hw
        )
        row, column = torch.meshgrid(row, column, indexing="ij")
        # EVA counts rows first, the Perception Encoder columns.
        place = (column, row) if config.family == "pe_core" else (row, column)
        angle = torch.cat([axis.reshape(-1, 1) * frequency for axis in place], dim=1)
        angle = angle.repeat_interleave(2, dim=1)  # (h w, E)
        angle = F.pad(angle, (0, 0, self.leading, 0))  # a class token is not turned
        return Rotation(angle.cos(), angle.sin())


class RotaryBlock(nn.Module):
    """A block whose parts are called as those of transformers' CLIP, for the same read-outs.

    Args:
        config: Of the transformer.
    """

    def __init__(self, config: RotaryVitConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.self_attn = RotaryAttention(config)
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)
        inner = config.intermediate_size
        if config.family == "pe_core":
            self.mlp: nn.Module = feed_forward(width, inner)
        else:
            self.mlp = GatedFeedForward(width, inner, eps)

    def forward(self, x: Float[Tensor, "B T V"], rotation: Rotation) -> Float[Tensor, "B T V"]:
        x = x + self.self_attn(self.layer_norm1(x), rotation)
        return x + self.mlp(self.layer_norm2(x))


class RotaryAttention(nn.Module):
    """Attention among all tokens, by queries and keys that are turned by their places.

    Args:
        config: Of the transformer.
    """

    def __init__(self, config: RotaryVitConfig) -> None:
        super().__init__()
        width, is_pe = config.hidden_size, config.family == "pe_core"
        self.num_heads = config.num_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=is_pe)
        self.v_proj = nn.Linear(width, width)
        norm = nn.Identity() if is_pe else nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.out_proj = nn.Sequential(OrderedDict(norm=norm, proj=nn.Linear(width, width)))

    def forward(self, x: Float[Tensor, "B T V"], rotation: Rotation) -> Float[Tensor, "B T V"]:
        query, key, value = (
            rearrange(project(x), "B T (G E) -> B G T E", G=self.num_heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(
            _turned(query, rotation), _turned(key, rotation), value
        )
        return self.out_proj(rearrange(mixed, "B G T E -> B T (G E)"))


class GatedFeedForward(nn.Module):
    """EVA-02's feed-forward layer: SwiGLU, with a norm before the way back."""

    def __init__(self, width: int, inner: int, eps: float) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner)
        self.fc1 = nn.Linear(width, inner)
        self.norm = nn.LayerNorm(inner, eps=eps)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
        return self.fc2(self.norm(F.silu(self.gate(x)) * self.fc1(x)))


class PoolingHead(nn.Module):
    """The Perception Encoder's pooling head for each token alone: its value path.

    The query of the head chooses among tokens; where there is one token there is nothing to choose.

    Args:
        width: V.
        eps: Of its norm.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.mlp = feed_forward(width, _POOLING_RATIO * width)

    def forward(self, x: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
        x = self.out_proj(self.v_proj(x))
        return x + self.mlp(self.norm(x))


def feed_forward(width: int, inner: int, out: int | None = None, *, bias: bool = True) -> nn.Module:
    """Two linear maps with a GELU between them; `bias` is the second's."""
    second = nn.Linear(inner, out or width, bias=bias)
    return nn.Sequential(OrderedDict(fc1=nn.Linear(width, inner), act=nn.GELU(), fc2=second))


def _turned(x: Float[Tensor, "B G T E"], rotation: Rotation) -> Float[Tensor, "B G T E"]:
    even, odd = x[..., ::2], x[..., 1::2]
    across = torch.stack([-odd, even], dim=-1).flatten(-2)
    return (x * rotation.cosine + across * rotation.sine).to(x.dtype)
