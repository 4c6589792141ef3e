"""What SAM reads off its transformer: a class's own mask (Kirillov et al., ICCV 2023; Sec. 3.4).

The tokens look at the patches once more, the patches are enlarged four times, and each mask token
becomes the weights of a linear classifier of the enlarged patches. Parameter names are those of
Meta's files. Of SAM's read-out the IoU head is left out: it judges masks worse than their agreement
with the map does (docs/lab, "prompts to SAM").

Sizes: B pictures, N class names, T tokens, P patches, S SAM's width, M masks of a class, h x w
patches, a x b a grid of masks, G heads, d width of a head.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.prompt_encoder import ChannelNorm
from escnet.model.two_way import Projections, TokensAndPatches

NUM_MASKS = 4
NUM_OUTPUT_TOKENS = 1 + NUM_MASKS  # SAM's IoU token comes first
DECISIVENESS = 24.0  # how much more a mask counts that agrees better (docs/lab)

_NORM_EPS = 1e-5
_SMALLEST_VARIANCE = 1e-6
# Of a mask that draws a map: a little less than that of a single patch. What is flatter has no
# edges, and its noise must not be blown up.
_FLAT_VARIANCE = 1e-3
_SMALLEST_SPREAD = 1e-10  # of a mask times that of a map; below it there is only rounding


class MaskHead(nn.Module):
    """SAM's masks from what its two-way transformer leaves.

    Args:
        width: S.
        num_heads: G.
    """

    def __init__(self, *, width: int, num_heads: int) -> None:
        super().__init__()
        self.final_attn_token_to_image = Projections(width, width // 2, num_heads)
        self.norm_final_attn = nn.LayerNorm(width, eps=_NORM_EPS)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Perceptron(width, width // 8) for _ in range(NUM_MASKS)
        )

    def forward(
        self,
        result: TokensAndPatches,
        token: Float[Tensor, "B N T S"],
        position: Float[Tensor, "P S"],
        grid_hw: tuple[int, int],
    ) -> Float[Tensor, "B N 4 4*{grid_hw[0]} 4*{grid_hw[1]}"]:
        """Mask logits of every class on a grid four times as fine as the patches.

        Args:
            result: Tokens and patches after the transformer.
            token: The tokens before it, which serve as their position.
            position: Positional encoding of the patches.
            grid_hw: h and w.
        """
        output = self.look(result, token, position)
        return self.masks(output, result.image.unflatten(2, grid_hw))

    def look(
        self,
        result: TokensAndPatches,
        token: Float[Tensor, "B N T S"],
        position: Float[Tensor, "P S"],
    ) -> Float[Tensor, "B N 5 S"]:
        """The output tokens after their last attention to the patches; no other token is read."""
        read, image = self.final_attn_token_to_image, result.image
        updated = result.token[:, :, :NUM_OUTPUT_TOKENS]
        query = read.q_proj(updated + token[:, :, :NUM_OUTPUT_TOKENS])
        query = read.heads(query) * read.scale  # (B, N, G, 5, d)
        heads = (read.num_heads, -1)
        place = read.k_proj(position).unflatten(-1, heads)  # (P, G, d)
        score = torch.einsum("bngtd,pgd->bngtp", query, place)
        probe = (query @ read.k_proj.weight.unflatten(0, heads)).flatten(2, 3)  # (B, N, G*5, S)
        weight = (score.flatten(2, 3) + probe @ image.mT.to(probe)).softmax(dim=-1)
        mean_patch = (weight.to(probe) @ image.to(probe)).unflatten(2, heads)  # (B, N, G, 5, S)
        mean_value = read.merge(mean_patch @ read.v_proj.weight.unflatten(0, heads).mT)
        return self.norm_final_attn(updated + read.out_proj(mean_value + read.v_proj.bias))

    def masks(
        self, output: Float[Tensor, "B N 5 S"], image: Float[Tensor, "B N h w S"]
    ) -> Float[Tensor, "B N 4 4*h 4*w"]:
        """Mask logits from the output tokens and patches, which may be some of them alone."""
        B = image.shape[0]
        fine = self.output_upscaling(rearrange(image, "B N h w S -> (B N) S h w"))
        fine = rearrange(fine, "(B N) c a b -> B N c a b", B=B)
        vector = torch.stack(
            [
                network(output[:, :, 1 + index])
                for index, network in enumerate(self.output_hypernetworks_mlps)
            ],
            dim=2,
        )  # (B, N, 4, c)
        return torch.einsum("bnmc,bncyx->bnmyx", vector, fine)


class Perceptron(nn.Module):
    """Three linear maps with a ReLU after the first two."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, out) for out in (width, width, out_width))

    def forward(self, x: Float[Tensor, "*lead S"]) -> Float[Tensor, "*lead c"]:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


def on_patches(
    masks: Float[Tensor, "*lead a b"], size_hw: tuple[int, int]
) -> Float[Tensor, "*lead h w"]:
    """The share of each patch that a mask covers, from masks on a finer grid or shares already."""
    if tuple(masks.shape[-2:]) == size_hw:
        return masks
    lead = masks.shape[:-2]
    shares = F.interpolate(masks.reshape(-1, 1, *masks.shape[-2:]), size=size_hw, mode="area")
    return shares.reshape(*lead, *size_hw)


def agreement(
    masks: Float[Tensor, "*lead M a b"], correlation: Float[Tensor, "*lead h w"]
) -> Float[Tensor, "*lead M"]:
    """How well each mask explains a map: Pearson's coefficient over the patches, -1 to 1.

    It needs no threshold and no scale of the map; a part of the object explains less than all. Both
    are compared on the map's own grid: an edge finer than a patch cannot be seen there.
    """
    share = on_patches(masks, (correlation.shape[-2], correlation.shape[-1]))
    value = correlation - correlation.mean(dim=(-2, -1), keepdim=True)
    product = (share * value[..., None, :, :]).mean(dim=(-2, -1))
    spread = share.var(dim=(-2, -1), correction=0)
    spread = spread * value.square().mean(dim=(-2, -1))[..., None]
    return product / spread.clamp(min=_SMALLEST_SPREAD).sqrt()


class Levels(NamedTuple):
    """What a map is beside a mask and inside it."""

    outside: Float[Tensor, "*lead"]
    inside: Float[Tensor, "*lead"]


def levels(
    correlation: Float[Tensor, "*lead h w"],
    mask: Float[Tensor, "*lead a b"],
    smallest_variance: float = _SMALLEST_VARIANCE,
) -> Levels:
    """The two levels of a map that a mask explains best (least squares over the patches).

    Args:
        correlation: The map.
        mask: On any grid.
        smallest_variance: Of the mask over the patches; the levels of a flatter one are nearer to
            each other.
    """
    share = on_patches(mask, (correlation.shape[-2], correlation.shape[-1]))
    size, mean = share.mean(dim=(-2, -1)), correlation.mean(dim=(-2, -1))
    centred = share - size[..., None, None]
    covariance = (centred * (correlation - mean[..., None, None])).mean(dim=(-2, -1))
    variance = centred.square().mean(dim=(-2, -1))
    slope = covariance / variance.clamp(min=smallest_variance)
    outside = mean - slope * size
    return Levels(outside, outside + slope)


def drawn_by_masks(
    logits: Float[Tensor, "B N M a b"], correlation: Float[Tensor, "B N h w"]
) -> Float[Tensor, "B N h w"]:
    """Every class's map as its masks draw it: one level inside, another outside.

    The masks that agree with the map count far more; a class whose masks explain nothing of its map
    gets the map's mean. In single precision even under autocast: small differences decide.

    Args:
        logits: Of each class's masks.
        correlation: The maps.
    """
    with torch.autocast(logits.device.type, enabled=False):
        correlation = correlation.float()
        share = on_patches(logits.float().sigmoid(), (correlation.shape[2], correlation.shape[3]))
        weight = torch.softmax(DECISIVENESS * agreement(share, correlation), dim=2)
        mask = torch.einsum("bnm,bnmhw->bnhw", weight, share)
        outside, inside = levels(correlation, mask, _FLAT_VARIANCE)
        return torch.lerp(outside[..., None, None], inside[..., None, None], mask)
