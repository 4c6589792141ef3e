"""Pseudo prompt generator: correlation maps to SAM prompts (Sec. 3.3, Fig. 3).

Of every class's map: a probability by softmax, a foreground by threshold, regions by k-means; each
region gives a point (its most probable patch) and a mask, all of one class go to SAM together.
Nothing here is trained and no gradient passes.

Sizes: B pictures, N class names, K regions, h x w patches.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from escnet.model.correlation import object_probability
from escnet.model.regions import cut_into_regions, region_masks, tightest_boxes

MASK_UPSAMPLING = 4  # SAM's mask encoder shrinks a mask by four

Softmax = Literal["position", "class"]
MaskPrompt = Literal["map", "union", "separate"]
EmptyRegion = Literal["drop", "repeat"]

_SMALLEST_RANGE = 1e-6


class PseudoPrompt(NamedTuple):
    """The prompts of every class, as fractions of the picture."""

    point_xy: Float[Tensor, "B N K 2"]
    box_xyxy: Float[Tensor, "B N K 4"]
    is_valid: Bool[Tensor, "B N K"]  # False where a region is empty
    mask: Float[Tensor, "B N J _ _"]  # as mask logits; J is K for "separate" masks, else 1
    probability: Float[Tensor, "B N h w"]
    region: Int[Tensor, "B N h w"]  # -1 outside the foreground


class PseudoPromptGenerator:
    """Reads pseudo points, boxes and masks off correlation maps.

    Attributes:
        num_regions: K, points and masks for each class (the paper's N_o).
        softmax: Axis of the softmax of Fig. 3b: the positions of one class, or the class names.
        sharpness: Gain of that softmax; see docs/paper-notes.md, note 1.
        threshold: Least object probability of the foreground (the paper's alpha), as a share of
            the class's best patch.
        kmeans_steps: Rounds of Lloyd's algorithm.
        empty_region: What becomes of the prompt of a region without a patch: dropped, or the
            class's best point, and its region's box, once more (note 3).
        mask_prompt: What SAM's mask encoder gets (note 4): the whole map, the foreground of all
            regions at once, or each region by itself.
        mask_scale: The mask logits run from minus this to plus this (note 5).
    """

    def __init__(
        self,
        *,
        num_regions: int,
        softmax: Softmax,
        sharpness: float,
        threshold: float,
        kmeans_steps: int,
        empty_region: EmptyRegion,
        mask_prompt: MaskPrompt,
        mask_scale: float,
    ) -> None:
        self.num_regions = num_regions
        self.softmax = softmax
        self.sharpness = sharpness
        self.threshold = threshold
        self.kmeans_steps = kmeans_steps
        self.empty_region = empty_region
        self.mask_prompt = mask_prompt
        self.mask_scale = mask_scale

    @torch.no_grad()
    def __call__(self, correlation: Float[Tensor, "B N h w"]) -> PseudoPrompt:
        """The prompts of every class; the maps may have any scale."""
        # In single precision even under autocast: rounded centres would move patches to other
        # regions, and points with them.
        with torch.autocast(correlation.device.type, enabled=False):
            return self._read_off(correlation.float())

    def _read_off(self, correlation: Float[Tensor, "B N h w"]) -> PseudoPrompt:
        B, N, h, w = correlation.shape
        probability = self.probability(correlation)
        foreground = probability >= self.threshold
        folded = rearrange(probability, "B N h w -> (B N) h w")
        region = cut_into_regions(
            folded,
            rearrange(foreground, "B N h w -> (B N) h w"),
            self.num_regions,
            self.kmeans_steps,
        )  # (B N, h, w)
        member = region_masks(region, self.num_regions)  # (B N, K, h, w)
        inside = torch.where(member, folded[:, None], -1.0).flatten(2)  # (B N, K, P)
        best = inside.argmax(dim=2)  # (B N, K)
        is_valid = member.flatten(2).any(dim=2)
        box = tightest_boxes(member)  # (B N, K, 4)
        if self.empty_region == "repeat":
            overall = folded.flatten(1).argmax(dim=1, keepdim=True)  # (B N, 1)
            best = torch.where(is_valid, best, overall)
            home = region.flatten(1).gather(1, overall)  # (B N, 1)
            box = torch.where(is_valid[..., None], box, box.take_along_dim(home[..., None], dim=1))
            is_valid = torch.ones_like(is_valid)
        point_xy = torch.stack(
            [(best % w + 0.5) / w, (torch.div(best, w, rounding_mode="floor") + 0.5) / h], dim=-1
        )
        masks = rearrange(member, "(B N) K h w -> B N K h w", B=B)
        return PseudoPrompt(
            point_xy=point_xy.unflatten(0, (B, N)),
            box_xyxy=box.unflatten(0, (B, N)),
            is_valid=is_valid.unflatten(0, (B, N)),
            mask=self._mask_logits(correlation, probability, masks),
            probability=probability,
            region=region.unflatten(0, (B, N)),
        )

    def probability(self, correlation: Float[Tensor, "B N h w"]) -> Float[Tensor, "B N h w"]:
        """Object probability: each class's map rescaled so that it peaks at 1 (Fig. 3b)."""
        if self.softmax == "position":
            return object_probability(correlation, self.sharpness)
        # In logarithms: the share of a class that is nowhere likely may be too small for a float.
        share = torch.log_softmax(correlation * self.sharpness, dim=1)
        return torch.exp(share - share.amax(dim=(2, 3), keepdim=True))

    def _mask_logits(
        self,
        correlation: Float[Tensor, "B N h w"],
        probability: Float[Tensor, "B N h w"],
        member: Bool[Tensor, "B N K h w"],
    ) -> Float[Tensor, "B N J 4*h 4*w"]:
        """The mask prompt at four times the resolution, between -scale and +scale."""
        if self.mask_prompt == "map":
            worst = correlation.amin(dim=(2, 3), keepdim=True)
            best = correlation.amax(dim=(2, 3), keepdim=True)
            share = ((correlation - worst) / (best - worst).clamp(min=_SMALLEST_RANGE))[:, :, None]
        elif self.mask_prompt == "union":
            share = (probability * member.any(dim=2))[:, :, None]
        else:
            share = probability[:, :, None] * member
        J = share.shape[2]
        enlarged = F.interpolate(
            rearrange(share, "B N J h w -> (B N) J h w"),
            scale_factor=MASK_UPSAMPLING,
            mode="bilinear",
            align_corners=False,
        )
        B = correlation.shape[0]
        return rearrange((2 * enlarged - 1) * self.mask_scale, "(B N) J H W -> B N J H W", B=B, J=J)
