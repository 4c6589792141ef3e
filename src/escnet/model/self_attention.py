"""CLIP's and SigLIP's towers read out densely, with another attention in their last block.

Trained towers mix all patches in the last block, which suits one answer for a picture and not one
for each patch. What replaces it, each as published:

* clip: a patch takes its own value, and the class token as residual (CAT-Seg's read-out);
* maskclip: a patch takes its own value, and itself as residual;
* sclip: softmax(q q) + softmax(k k), with residual and feed-forward layer;
* naclip: softmax(k k + a Gaussian of the distance), without residual and feed-forward layer.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, V inner width, T tokens, G heads.
"""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from escnet.model.vision import (
    _CLIP_DEVIATION,
    _CLIP_MEAN,
    _HALF,
    ClipVision,
    SiglipVision,
    _grid,
    _normalise,
    _to_map,
)

Attention = Literal["clip", "maskclip", "sclip", "naclip"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)

_DEVIATION = 5.0  # of NACLIP's Gaussian, in patches


def dense_embedding(
    vision: ClipVision | SiglipVision, image: Float[Tensor, "B 3 H W"], attention: Attention
) -> Float[Tensor, "B D h w"]:
    """Patch embeddings in the joint space.

    Args:
        vision: The tower; SigLIP has no class token, so its "clip" has no residual.
        image: Pixels in [0, 1].
        attention: What replaces that of the last block.
    """
    grid_hw = _grid(image, vision.patch_size)
    inner: Any = getattr(vision.tower, "vision_model", vision.tower)
    is_clip = isinstance(vision, ClipVision)
    mean, deviation = (_CLIP_MEAN, _CLIP_DEVIATION) if is_clip else (_HALF, _HALF)
    hidden = vision.tower(
        pixel_values=_normalise(image, mean, deviation),
        interpolate_pos_encoding=True,
        output_hidden_states=True,
    ).hidden_states
    leading = int(is_clip)
    x = last_block(inner.encoder.layers[-1], hidden[-2], attention, grid_hw, leading)
    x = inner.post_layernorm(x)
    joint = vision.tower.visual_projection(x) if is_clip else _through_head(inner.head, x)
    return _to_map(joint, leading, grid_hw)


def last_block(
    block: Any,
    x: Float[Tensor, "B T V"],
    attention: Attention,
    grid_hw: tuple[int, int],
    leading: int,
) -> Float[Tensor, "B T V"]:
    """What leaves a tower's last block under another attention.

    Args:
        block: Of transformers' CLIP or SigLIP.
        x: What enters it.
        attention: See the module.
        grid_hw: Rows and columns of the patches.
        leading: Tokens before the patches: 1 for a class token, else 0.
    """
    own = block.self_attn
    normed = block.layer_norm1(x)
    value = own.v_proj(normed)
    if attention in {"sclip", "naclip"}:
        query, key, value = (
            rearrange(token, "B T (G E) -> B G T E", G=own.num_heads)
            for token in (own.q_proj(normed), own.k_proj(normed), value)
        )
        weight = _self_similarity(key)
        if attention == "sclip":
            weight = _self_similarity(query).softmax(dim=-1) + weight.softmax(dim=-1)
        else:
            prior = neighbourhood(grid_hw, leading).to(weight)
            weight = (weight + prior).softmax(dim=-1)
        value = rearrange(weight @ value, "B G T E -> B T (G E)")
    mixed = own.out_proj(value)
    if attention == "naclip":
        return mixed
    x = x[:, :leading].sum(dim=1, keepdim=True) + mixed if attention == "clip" else x + mixed
    return x + block.mlp(block.layer_norm2(x))


def neighbourhood(grid_hw: tuple[int, int], leading: int) -> Float[Tensor, "T T"]:
    """NACLIP's Gaussian of the distance between two patches; 0 for leading tokens."""
    h, w = grid_hw
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    place = torch.stack([row.flatten(), column.flatten()], dim=1).float()
    distance = (place[:, None] - place[None]).square().sum(dim=-1)
    near = torch.exp(-distance / (2 * _DEVIATION**2))
    return F.pad(near, (leading, 0, leading, 0))


def _self_similarity(token: Float[Tensor, "B G T E"]) -> Float[Tensor, "B G T T"]:
    return token @ token.transpose(-1, -2) / token.shape[-1] ** 0.5


def _through_head(head: Any, x: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
    """SigLIP's pooling head for each token alone: its value path."""
    pool = head.attention
    width = pool.embed_dim
    value = F.linear(x, pool.in_proj_weight[2 * width :], pool.in_proj_bias[2 * width :])
    x = pool.out_proj(value)
    return x + head.mlp(head.layernorm(x))
