"""Mask proposals (Fig. 1a): class-agnostic masks from SAM, each classified by a tower.

SAM is asked at every point of an even grid; masks that it doubts or that hang on the threshold are
dropped, and so are repetitions. What no mask covers is one more region. A mask's class logits are

* "pooling": the mean of the base method's maps inside it: for a CLIP, masked pooling of its dense
  features;
* "crop": the same of a picture of the mask alone, as in the first two-stage systems: the box around
  it, grey where the mask is not, is shown to the tower as a picture of its own.

Sizes: N class names, R masks, H x W the view, h x w the grid of the maps, a x b SAM's.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from escnet.inference.label_maps.published_resize import View, as_bytes
from escnet.inference.methods.method import EncodedView, Method, ViewLogits
from escnet.inference.methods.model_name import ModelName
from escnet.inference.methods.network_method import as_array
from escnet.inference.methods.training_free import load_training_free
from escnet.inference.sam.masks import load_sam
from escnet.inference.sam.prompting import Sam, SamPicture
from escnet.inference.sam.sam_method import SamMethod
from escnet.towers.resize import resized

_LEAST_QUALITY = 0.88  # these three as in SAM's automatic mode
_LEAST_STABILITY = 0.95
_MOST_OVERLAP = 0.7
_STABILITY_OFFSET = 1.0  # logits
_POINTS_AT_ONCE = 32
_LITTLE = 1e-6
_GREY = np.array((123, 117, 104), np.uint8)  # CLIP's mean pixel
_CROPS_AT_ONCE = 8

ClassifiedBy = Literal["pooling", "crop"]


class ProposedView(NamedTuple):
    """A view that masks have been proposed for.

    Attributes:
        pixels: The view.
        base: What the other method says of it.
        grid_hw: Rows and columns of the masks.
        masks: The masks, the best first.
        quality: Of each mask.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    base: EncodedView
    grid_hw: tuple[int, int]
    masks: Bool[Tensor, "R a b"]
    quality: Float[Tensor, " R"]


class MaskProposals(SamMethod):
    """SAM's masks, labelled by another method's maps.

    Args:
        base: The method that gives the maps.
        sam: SAM, on its device.
        classified_by: See the module.
        points_per_side: Of the grid of points; SAM's own automatic mode has 32.
    """

    name = "mask-proposals"

    def __init__(
        self,
        base: Method,
        sam: Sam,
        *,
        classified_by: ClassifiedBy = "pooling",
        points_per_side: int = 16,
    ) -> None:
        super().__init__(base, sam)
        self.classified_by = classified_by
        self.points_per_side = points_per_side

    @property
    def settings(self) -> Mapping[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        return {
            **super().settings,
            "classified_by": self.classified_by,
            "points_per_side": self.points_per_side,
        }

    @torch.inference_mode()
    def encode_views(self, views: Sequence[View]) -> list[ProposedView]:
        """Each view with SAM's masks, which need no names."""
        encoded = []
        for view, base in zip(views, self.base.encode_views(views), strict=True):
            pixels = as_bytes(view)
            picture = self.sam.encode(pixels)
            masks, quality = propose(self.sam, picture, self.points_per_side)
            encoded.append(ProposedView(pixels, base, picture.size_hw, masks, quality))
        return encoded

    @torch.inference_mode()
    def logits(
        self,
        views: Sequence[ProposedView],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None = None,  # noqa: ARG002 -- every name takes part
    ) -> list[ViewLogits]:
        """Of each view the logits on SAM's grid, one level in each region."""
        results = []
        answers = self.base.logits([view.base for view in views], text_embedding)
        for view, answer in zip(views, answers, strict=True):
            logits = torch.from_numpy(answer.logits)[None].to(self.sam.device)
            maps = resized(logits, view.grid_hw)[0]
            region = with_rest(view.masks).to(maps.dtype)
            score = region_means(maps, region)
            if self.classified_by == "crop":
                of_crops = self._of_crops(view.pixels, view.masks, text_embedding, answer.kept)
                score[:, :-1] = torch.from_numpy(of_crops).to(score)
            painted = paint_regions(score, region, view.quality)
            results.append(ViewLogits(as_array(painted), answer.kept))
        return results

    def _of_crops(
        self,
        view: UInt8[np.ndarray, "H W 3"],
        masks: Bool[Tensor, "R a b"],
        text_embedding: Float32[np.ndarray, "N D"],
        kept: list[int],
    ) -> Float32[np.ndarray, "M _"]:
        """The logits of each mask, seen as a picture of its own."""
        columns = []
        crops = list(cropped(view, masks))
        for start in range(0, len(crops), _CROPS_AT_ONCE):
            some = crops[start : start + _CROPS_AT_ONCE]
            encoded = self.base.encode_views([pixels for pixels, _ in some])
            answers = self.base.logits(encoded, text_embedding[kept])
            for (_, inside), (logits, own) in zip(some, answers, strict=True):
                weight = F.interpolate(
                    inside[None, None].float(), size=logits.shape[1:], mode="area"
                )[0, 0].numpy()
                mean = (logits * weight).sum(axis=(1, 2)) / max(weight.sum(), _LITTLE)
                column = np.full(len(kept), logits.min(), np.float32)
                column[own] = mean  # a name that the base has dropped for the crop is the least
                columns.append(column)
        if not columns:
            return np.zeros((len(kept), 0), np.float32)
        return np.stack(columns, axis=1)


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


def cropped(
    view: UInt8[np.ndarray, "H W 3"], masks: Bool[Tensor, "R a b"]
) -> Iterator[tuple[UInt8[np.ndarray, "_ _ 3"], Bool[Tensor, "_ _"]]]:
    """Of each mask the box around it, grey where the mask is not, and the mask in that box."""
    height, width = view.shape[:2]
    for mask in masks.cpu():
        whole = F.interpolate(mask[None, None].float(), size=(height, width), mode="nearest")
        inside = whole[0, 0].bool()
        row, column = (inside.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
        if not len(row):  # thinner than a pixel of the view
            yield view, torch.ones(height, width, dtype=torch.bool)
            continue
        box = slice(int(row[0]), int(row[-1]) + 1), slice(int(column[0]), int(column[-1]) + 1)
        own = inside[box]
        yield np.where(own.numpy()[..., None], view[box], _GREY), own


def with_rest(masks: Bool[Tensor, "R a b"]) -> Bool[Tensor, "_ a b"]:
    """The masks, and last what none of them covers."""
    return torch.cat([masks, ~masks.any(dim=0)[None]])


def region_means(
    maps: Float[Tensor, "N a b"], region: Float[Tensor, "R a b"]
) -> Float[Tensor, "N R"]:
    """The mean of each map inside each region."""
    return torch.einsum("nab,rab->nr", maps, region) / region.sum(dim=(1, 2)).clamp(min=1)


def paint_regions(
    score: Float[Tensor, "N R"], region: Float[Tensor, "R a b"], quality: Float[Tensor, " _"]
) -> Float[Tensor, "N a b"]:
    """Each pixel the logits of its regions, the better masks counting more.

    Args:
        score: The logits of each region.
        region: The masks, and what none of them covers.
        quality: Of the masks.
    """
    weight = torch.cat([quality.clamp(min=_LITTLE), quality.new_ones(1)]).to(region)
    total = torch.einsum("r,rab->ab", weight, region)
    return torch.einsum("nr,r,rab->nab", score, weight, region) / total


def load_proposals(
    name: ModelName, *, classified_by: ClassifiedBy, device: str, dtype: str
) -> tuple[MaskProposals, str]:
    """The method that a name of both weights stands for, and their hash.

    Raises:
        WeightsError: If weights are not here, damaged, or of another family.
        ConfigError: If a choice is unknown.
    """
    sam, sam_hash = load_sam(name, device=device)
    base, base_hash = load_training_free(name, device=device, dtype=dtype)
    method = MaskProposals(base, sam, classified_by=classified_by)
    return method, sha256(f"{base_hash} {sam_hash}".encode()).hexdigest()
