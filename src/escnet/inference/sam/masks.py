"""Training-free segmentation with SAM: correlation in, SAM's sharp masks merged into it.

The idea of ESC-Net without training: the pseudo prompt generator turns each class's map into
prompts, SAM answers with masks, and the masks that agree with the map sharpen it. SAM often answers
with a part of the object or with all that surrounds it, so that its own estimate of quality is not
enough: agreement with the map judges, and the map keeps a share. docs/lab has what was
compared.

Sizes: N class names, h x w the grid of the map, a x b SAM's finer one, R masks.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from escnet.inference.label_maps.published_resize import View, as_bytes
from escnet.inference.machine.device import chosen_device
from escnet.inference.methods.method import EncodedView, Method, ViewLogits
from escnet.inference.methods.model_name import ModelName
from escnet.inference.methods.network_method import as_array
from escnet.inference.methods.training_free import load_training_free
from escnet.inference.sam.prompting import Sam, SamPicture
from escnet.inference.sam.sam_method import SamMethod
from escnet.model.mask_head import DECISIVENESS, agreement, levels
from escnet.model.pseudo_prompt import PseudoPromptGenerator
from escnet.towers.resize import resized
from escnet.weights.catalog import require_local
from escnet.weights.sam import sam_files
from escnet.weights.sam_model import load_sam_model
from escnet.weights.tensor_file import tensors_sha256

NUM_NEGATIVES = 4
DEFAULT_MOST_CLASSES = 16

_LOW = 0.3  # negative points lie in the lowest 30 % of a map
_MOST_UNITED = 5  # masks of which any two are united
_LEAST_AGREEMENT = 0.05
_MASK_ERROR = 0.5  # variance of a mask's error, as a share of the mask's
_BLUR_REACH = 4  # patches, of a Gaussian of one

_GENERATOR = PseudoPromptGenerator(
    num_regions=5,
    softmax="position",
    sharpness=4.0,
    threshold=0.3,
    kmeans_steps=10,
    empty_region="drop",
    mask_prompt="map",
    mask_scale=1.0,
)


class SamView(NamedTuple):
    """A view that SAM and the other method have encoded.

    Attributes:
        base: What the other method says of it.
        picture: As SAM has encoded it.
    """

    base: EncodedView
    picture: SamPicture


class TrainingFreeSam(SamMethod):
    """A method whose maps SAM sharpens.

    Args:
        base: The method that gives the maps.
        sam: SAM, on its device.
        share: Of SAM's masks in the sharpened map; 0 leaves the map as it is, None lets their
            agreement decide for each map.
        most_classes: Of a view, the names that win somewhere go to SAM, the widest first, up to
            this many; the others keep their maps.
    """

    name = "training-free-sam"

    def __init__(
        self,
        base: Method,
        sam: Sam,
        *,
        share: float | None = None,
        most_classes: int = DEFAULT_MOST_CLASSES,
    ) -> None:
        super().__init__(base, sam)
        self.share = share
        self.most_classes = most_classes

    @property
    def settings(self) -> Mapping[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        return {
            **super().settings,
            "sam_share": "by agreement" if self.share is None else self.share,
            "sam_most_classes": self.most_classes,
        }

    def encode_views(self, views: Sequence[View]) -> list[SamView]:
        """Each view as the other method and SAM have encoded it."""
        base = self.base.encode_views(views)
        pictures = [self.sam.encode(as_bytes(view)) for view in views]
        return [SamView(*both) for both in zip(base, pictures, strict=True)]

    @torch.inference_mode()
    def logits(
        self,
        views: Sequence[SamView],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None = None,  # noqa: ARG002 -- every name takes part
    ) -> list[ViewLogits]:
        """Of each view the logits on SAM's grid; a map's values keep their scale."""
        answers = self.base.logits([view.base for view in views], text_embedding)
        return [
            ViewLogits(self._sharpened(view.picture, answer.logits), answer.kept)
            for view, answer in zip(views, answers, strict=True)
        ]

    def _sharpened(
        self, picture: SamPicture, logits: Float32[np.ndarray, "N h w"]
    ) -> Float32[np.ndarray, "N a b"]:
        maps = torch.from_numpy(logits).to(self.sam.device)
        fine = enlarged(maps, picture.size_hw)
        for index in winners(maps)[: self.most_classes]:
            answers = answers_for(self.sam, picture, maps[index])
            masks = answers.logits.sigmoid()
            fine[index] = sharpened(maps[index], masks, answers.quality, self.share)
        return as_array(fine)


def winners(maps: Float[Tensor, "N h w"]) -> list[int]:
    """The classes that win somewhere, the one that wins most first."""
    count = torch.bincount(maps.argmax(dim=0).flatten(), minlength=len(maps))
    order = count.argsort(descending=True, stable=True)
    return [int(index) for index in order if count[index] > 0]


class MapMasks(NamedTuple):
    """SAM's masks for one map: three to each prompt, as logits, and the IoU that SAM expects."""

    logits: Float[Tensor, "R a b"]
    quality: Float[Tensor, " R"]


def answers_for(sam: Sam, picture: SamPicture, correlation: Float[Tensor, "h w"]) -> MapMasks:
    """SAM's masks for one map.

    Asked are, in this order: all points of the map's regions at once, with negative points and the
    map itself as a mask prompt; the same with one point, the peak of the blurred map, where noise
    does not lead as easily; and each region's point alone, since SAM answers better for one object
    than for five.
    """
    prompt = _GENERATOR(correlation[None, None])
    point = prompt.point_xy[0, 0][prompt.is_valid[0, 0]]  # (K, 2)
    away = negative_points(correlation)
    answers = [
        sam.answer(
            picture,
            torch.cat([on, away])[None],
            torch.cat([on.new_ones(len(on)), on.new_zeros(len(away))])[None],
            prompt.mask[0, 0],
        )
        for on in (point, peak_point(blurred(correlation)))
    ]
    answers.append(sam.answer(picture, point[:, None], point.new_ones(len(point), 1)))
    return MapMasks(
        logits=torch.cat([answer.logits for answer in answers]).flatten(0, 1),
        quality=torch.cat([answer.quality for answer in answers]).flatten(),
    )


def blurred(correlation: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """A map after a Gaussian of one patch."""
    place = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=correlation.device)
    kernel = torch.softmax(-place.to(correlation).square() / 2, dim=0)
    padded = F.pad(correlation[None, None], (_BLUR_REACH,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[None, None, None])
    return F.conv2d(across, kernel[None, None, :, None])[0, 0]


def peak_point(correlation: Float[Tensor, "h w"]) -> Float[Tensor, "1 2"]:
    """The place of a map's highest patch."""
    h, w = correlation.shape
    best = int(correlation.argmax())
    return correlation.new_tensor([[(best % w + 0.5) / w, (best // w + 0.5) / h]])


def negative_points(correlation: Float[Tensor, "h w"]) -> Float[Tensor, "4 2"]:
    """Places where the class surely is not: the lowest patch, then low ones far from the others."""
    h, w = correlation.shape
    flat = correlation.flatten()
    is_low = flat <= flat.quantile(_LOW)
    index = torch.arange(h * w, device=flat.device)
    place = torch.stack([(index % w + 0.5) / w, (index // w + 0.5) / h], dim=1)  # (P, 2)
    chosen = place[flat.argmin()][None]
    for _ in range(NUM_NEGATIVES - 1):
        nearest = torch.cdist(place, chosen).amin(dim=1)
        chosen = torch.cat([chosen, place[torch.where(is_low, nearest, -1.0).argmax()][None]])
    return chosen


def with_unions(
    correlation: Float[Tensor, "h w"], masks: Float[Tensor, "R a b"], quality: Float[Tensor, " R"]
) -> tuple[Float[Tensor, "_ a b"], Float[Tensor, " _"]]:
    """The masks, and the unions of any two of the best: SAM answers with one object of several."""
    score = agreement(masks, correlation) * quality.clamp(0, 1)
    best = score.argsort(descending=True, stable=True)[:_MOST_UNITED]
    first, second = torch.combinations(best).unbind(dim=1)
    united = torch.maximum(masks[first], masks[second])
    return torch.cat([masks, united]), torch.cat([quality, (quality[first] + quality[second]) / 2])


def consensus(
    correlation: Float[Tensor, "h w"], masks: Float[Tensor, "R a b"], quality: Float[Tensor, " R"]
) -> Float[Tensor, "a b"]:
    """The mean of the masks, those of high agreement and quality counting far more."""
    score = agreement(masks, correlation) * quality.clamp(0, 1)
    return torch.einsum("r,rab->ab", torch.softmax(DECISIVENESS * score, dim=0), masks)


def mask_share(correlation: Float[Tensor, "h w"], mask: Float[Tensor, "a b"]) -> float:
    """How much of the mixture is to be the mask: the more, the less of the map it explains.

    The two are weighed by their errors. The map's is what the mask leaves unexplained, (1 - r^2) /
    r^2 of the mask's variance at the agreement r; the mask's own is taken for a fixed share of it.
    """
    explained = float(agreement(mask[None], correlation)[0].clamp(min=_LEAST_AGREEMENT)) ** 2
    unexplained = 1 / explained - 1
    return unexplained / (unexplained + _MASK_ERROR)


def sharpened(
    correlation: Float[Tensor, "h w"],
    masks: Float[Tensor, "R a b"],
    quality: Float[Tensor, " R"],
    share: float | None = None,
) -> Float[Tensor, "a b"]:
    """A map whose edges are those of the masks that agree with it, in the map's own scale.

    Args:
        correlation: The map.
        masks: SAM's, as probabilities.
        quality: The IoU that SAM expects of each.
        share: Of the masks in the result; None for what `mask_share` finds.
    """
    mask = consensus(correlation, *with_unions(correlation, masks, quality))
    outside, inside = levels(correlation, mask)
    if share is None:
        share = mask_share(correlation, mask)
    fine = enlarged(correlation[None], (mask.shape[0], mask.shape[1]))[0]
    return (1 - share) * fine + share * (outside + (inside - outside) * mask)


def enlarged(maps: Float[Tensor, "N h w"], size_hw: tuple[int, int]) -> Float[Tensor, "N a b"]:
    """Maps on SAM's grid."""
    return resized(maps[None], size_hw)[0]


def load_training_free_sam(
    name: ModelName, *, device: str, dtype: str
) -> tuple[TrainingFreeSam, str]:
    """The method that a name of both weights stands for, and their hash.

    Raises:
        WeightsError: If weights are not here, damaged, or of another family.
        ConfigError: If a choice is unknown.
    """
    sam, sam_hash = load_sam(name, device=device)
    base, base_hash = load_training_free(name, device=device, dtype=dtype)
    return TrainingFreeSam(base, sam), sha256(f"{base_hash} {sam_hash}".encode()).hexdigest()


def load_sam(name: ModelName, *, device: str) -> tuple[Sam, str]:
    """The SAM of a name on its device, and the hash of its file.

    Raises:
        WeightsError: If SAM's weights are not here, damaged, or of another family.
    """
    path = require_local(str(name.sam))
    model = load_sam_model(path)
    return Sam(model, device=chosen_device(device)), tensors_sha256(sam_files(path))
