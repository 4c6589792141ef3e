"""CLIP's and SigLIP's towers read out densely, with another attention in their last block.

Trained towers mix all patches in the last block, which suits one answer for a picture and not one
for each patch. What replaces it, each as published:

* clip: a patch takes its own value, and the class token as residual (CAT-Seg's read-out);
* maskclip: a patch takes its own value, and itself as residual;
* sclip: softmax(q q) + softmax(k k), with residual and feed-forward layer;
* naclip: softmax(k k + a Gaussian of the distance), without residual and feed-forward layer.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, V inner width, T tokens, G heads.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

ATTENTIONS = ("naclip", "clip", "maskclip", "sclip")  # the usual one first

_DEVIATION = 5.0  # of NACLIP's Gaussian, in patches


def last_block(
    block: Any,
    x: Float[Tensor, "B T V"],
    attention: str,
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
