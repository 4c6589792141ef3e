"""Mask proposals (Fig. 1a): class-agnostic masks from SAM, each classified by a tower.

SAM is asked at every point of an even grid; masks that it doubts or that hang on the threshold are
dropped, and so are repetitions. A mask's class logits are the mean of the base method's maps inside
it: for a CLIP, masked pooling of its dense features. What no mask covers is one more region.

Sizes: N class names, R masks, h x w the grid of the maps, a x b SAM's.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from escnet.inference.method import Method, ViewLogits
from escnet.inference.sam_masks import read_sam_name
from escnet.inference.sam_prompting import Sam, SamPicture
from escnet.inference.training_free import load_training_free

_LEAST_QUALITY = 0.88  # these three as in SAM's automatic mode
_LEAST_STABILITY = 0.95
_MOST_OVERLAP = 0.7
_STABILITY_OFFSET = 1.0  # logits
_POINTS_AT_ONCE = 32
_LITTLE = 1e-6


class MaskProposals:
    """SAM's masks, labelled by another method's maps.

    Args:
        base: The method that gives the maps.
        sam: SAM, on its device.
        points_per_side: Of the grid of points; SAM's own automatic mode has 32.
    """

    name = "mask-proposals"

    def __init__(self, base: Method, sam: Sam, *, points_per_side: int = 16) -> None:
        self.base = base
        self.sam = sam
        self.points_per_side = points_per_side
        self.template = base.template
        self.view_size = base.view_size

    @property
    def settings(self) -> Mapping[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        return {
            **self.base.settings,
            "base": self.base.name,
            "points_per_side": self.points_per_side,
        }

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N D"]:
        """The embeddings of texts that the template has been applied to.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """
        return self.base.encode_text(texts)

    @torch.inference_mode()
    def logits(
        self, views: Sequence[UInt8[np.ndarray, "_ _ 3"]], text_embedding: Float[Tensor, "N D"]
    ) -> list[ViewLogits]:
        """Of each view the logits on SAM's grid, one level in each region."""
        results = []
        for view, found in zip(views, self.base.logits(views, text_embedding), strict=True):
            picture = self.sam.encode(view)
            masks, quality = propose(self.sam, picture, self.points_per_side)
            maps = F.interpolate(
                found.logits[None].float().to(self.sam.device),
                size=picture.size_hw,
                mode="bilinear",
                align_corners=False,
            )[0]
            results.append(ViewLogits(classified(maps, masks, quality), found.kept))
        return results


def propose(
    sam: Sam, picture: SamPicture, points_per_side: int
) -> tuple[Bool[Tensor, "R a b"], Float[Tensor, " R"]]:
    """Masks of whatever is in a picture, the best first, without repetitions."""
    place = (torch.arange(points_per_side, device=sam.device) + 0.5) / points_per_side
    point = torch.cartesian_prod(place, place)[:, None]  # (points, 1, 2)
    masks, qualities = [], []
    for start in range(0, len(point), _POINTS_AT_ONCE):
        some = point[start : start + _POINTS_AT_ONCE]
        answers = sam.answer(picture, some, some.new_ones(len(some), 1))
        logits, quality = answers.logits.flatten(0, 1), answers.quality.flatten()
        good = (quality >= _LEAST_QUALITY) & (stability(logits) >= _LEAST_STABILITY)
        masks.append(logits[good] > 0)
        qualities.append(quality[good])
    kept = without_repetitions(torch.cat(masks), torch.cat(qualities))
    return torch.cat(masks)[kept], torch.cat(qualities)[kept]


def stability(logits: Float[Tensor, "R a b"]) -> Float[Tensor, " R"]:
    """IoU of each mask at a higher threshold with itself at a lower one; 0 where it is empty."""
    high = (logits > _STABILITY_OFFSET).sum(dim=(1, 2))
    low = (logits > -_STABILITY_OFFSET).sum(dim=(1, 2))
    return high / low.clamp(min=1)


def without_repetitions(masks: Bool[Tensor, "R a b"], quality: Float[Tensor, " R"]) -> list[int]:
    """Which masks stay, best first: those that overlap no better one that stays."""
    kept: list[int] = []
    for index in quality.argsort(descending=True, stable=True).tolist():
        others = masks[kept]  # (kept, a, b)
        shared = (others & masks[index]).sum(dim=(1, 2))
        union = (others | masks[index]).sum(dim=(1, 2))
        if not (shared > _MOST_OVERLAP * union).any():
            kept.append(index)
    return kept


def classified(
    maps: Float[Tensor, "N a b"], masks: Bool[Tensor, "R a b"], quality: Float[Tensor, " R"]
) -> Float[Tensor, "N a b"]:
    """Each pixel the logits of its regions: the mean of the maps inside each, by quality."""
    rest = ~masks.any(dim=0)[None]
    region = torch.cat([masks, rest]).to(maps.dtype)  # (R + 1, a, b)
    weight = torch.cat([quality.clamp(min=_LITTLE), quality.new_ones(1)])
    area = region.sum(dim=(1, 2)).clamp(min=1)
    mean = torch.einsum("nab,rab->nr", maps, region) / area
    total = torch.einsum("r,rab->ab", weight, region)
    return torch.einsum("nr,r,rab->nab", mean, weight, region) / total


def load_proposals(name: str, *, device: str, dtype: str) -> tuple[MaskProposals, str]:
    """The method `CLIP+sam:SAM`, and the hash of both weights.

    Raises:
        WeightsError: If weights are not here, damaged, or of another family.
        ConfigError: If a part of the name is missing.
    """
    clip, sam, sam_hash = read_sam_name(name, device=device)
    base, base_hash = load_training_free(clip, device=device, dtype=dtype)
    return MaskProposals(base, sam), sha256(f"{base_hash} {sam_hash}".encode()).hexdigest()
