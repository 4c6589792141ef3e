"""How a class was numbers, as plain arrays and numbers: Figures 3 and 6 of one's own picture.

The record alone, without PyTorch: `explainer.py` fills it, `explanation_sheet.py` draws it.

Sizes: H x W pixels, h x w patches, J mask prompts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

FORMAT = 1  # of the JSON; one that is to be read otherwise has a higher number
WITHOUT_SAM = (
    "the same weights on the same picture, but each SAM block passes on its residual alone: what "
    "SAM answers to the prompts is left out; nothing is trained again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region of the class's foreground, and the prompts read off it.

    Attributes:
        point_xy: The pseudo point in pixels: pixel i covers i to i + 1.
        box_xyxy: The pseudo box in pixels.
        probability: Object probability at the point.
        num_patches: Patches of the region.
        share: The same, as a share of the picture.
    """

    point_xy: tuple[float, float]
    box_xyxy: tuple[float, float, float, float]
    probability: float
    num_patches: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStep:
    """What one ESC-Block read off the class's map, and what it made of the class.

    Attributes:
        evidence: The map that the prompts are read off, as logits.
        probability: Object probability (Fig. 3b).
        region: The region of each patch; -1 outside the foreground (Fig. 3d).
        regions: Only those that hold a patch.
        mask_prompt: As mask logits, at four times the patches' resolution.
        activation: The class's map after the block, as logits.
        activation_without: The same without the SAM blocks; None if the network has none.
    """

    evidence: Float[np.ndarray, "h w"]
    probability: Float[np.ndarray, "h w"]
    region: Int[np.ndarray, "h w"]
    regions: tuple[Region, ...]
    mask_prompt: Float[np.ndarray, "J _ _"]
    activation: Float[np.ndarray, "h w"]
    activation_without: Float[np.ndarray, "h w"] | None

    def summary(self) -> dict[str, Any]:
        """The numbers, as plain values for JSON."""
        numbers: dict[str, Any] = {
            "map_in": _statistics(self.evidence),
            "foreground_share": round(float((self.region >= 0).mean()), 6),
            "regions": [
                {
                    "point_xy": [round(value, 2) for value in region.point_xy],
                    "probability": round(region.probability, 4),
                    "box_xyxy": [round(value, 2) for value in region.box_xyxy],
                    "patches": region.num_patches,
                    "share": round(region.share, 6),
                }
                for region in self.regions
            ],
            "activation": {"with_sam": _statistics(self.activation), "without_sam": None},
        }
        if self.activation_without is not None:
            difference = np.abs(self.activation - self.activation_without).mean()
            numbers["activation"]["without_sam"] = _statistics(self.activation_without)
            numbers["activation"]["mean_difference"] = round(float(difference), 4)
        return numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalMask:
    """Where the class is in the end: what the last logits say of it.

    Attributes:
        confidence: Sigmoid of the class's logits, on their own grid.
        mask: The pixels that the class wins against the other names.
    """

    confidence: Float[np.ndarray, "_ _"]
    mask: Bool[np.ndarray, "H W"]

    def summary(self) -> dict[str, float]:
        """The numbers, as plain values for JSON."""
        return {
            "share": round(float(self.mask.mean()), 6),
            "highest_confidence": round(float(self.confidence.max()), 4),
            "mean_confidence": round(float(self.confidence.mean()), 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How one class was numbers in one picture.

    Attributes:
        picture: The picture.
        name: The class.
        query: The text of it that was followed: of several synonyms the best correlated one.
        names: All class names of the call; the network sees them together.
        method: What kind of method the model is.
        model: The model's name.
        weights_hash: SHA-256 of its weights.
        settings: What moves a pixel, besides the weights and the names.
        generator: The settings of the pseudo prompt generator; None without ESC-Blocks.
        correlation: Image-text correlation, as logits (Eq. 1, scaled and shifted).
        blocks: One for each ESC-Block; none for a method that is correlation alone.
        answer: The method's own.
        answer_without: The same without the SAM blocks; None where there are none.
        own_colours: Colours that a names file gives to names.
    """

    picture: UInt8[np.ndarray, "H W 3"]
    name: str
    query: str
    names: tuple[str, ...]
    method: str
    model: str
    weights_hash: str
    settings: Mapping[str, object]
    generator: Mapping[str, Any] | None
    correlation: Float[np.ndarray, "h w"]
    blocks: tuple[BlockStep, ...]
    answer: FinalMask
    answer_without: FinalMask | None
    own_colours: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The numbers of the sheet, as plain values for JSON."""
        height, width = self.picture.shape[:2]
        without = None if self.answer_without is None else self.answer_without.summary()
        return {
            "format": FORMAT,
            "model": self.model,
            "method": self.method,
            "weights_hash": self.weights_hash,
            "settings": dict(self.settings),
            "class": self.name,
            "query": self.query,
            "names": list(self.names),
            "width": width,
            "height": height,
            "patches_hw": list(self.correlation.shape),
            "correlation": _statistics(self.correlation),
            "generator": None if self.generator is None else dict(self.generator),
            "blocks": [
                {"block": number, **block.summary()} for number, block in enumerate(self.blocks, 1)
            ],
            "answer": {"with_sam": self.answer.summary(), "without_sam": without},
            "without_sam_means": None if without is None else WITHOUT_SAM,
        }


def _statistics(logits: Float[np.ndarray, "h w"]) -> dict[str, float]:
    return {
        "min": round(float(logits.min()), 4),
        "mean": round(float(logits.mean()), 4),
        "max": round(float(logits.max()), 4),
        "share_above_zero": round(float((logits > 0).mean()), 6),  # where the class is likelier
    }
