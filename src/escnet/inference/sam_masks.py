"""Training-free segmentation with SAM: correlation in, SAM's sharp masks merged into it.

The idea of ESC-Net without training: the pseudo prompt generator turns each class's map into
prompts, SAM answers with masks, and the masks that agree with the map sharpen it. SAM often answers
with a part of the object or with all that surrounds it, so that its own estimate of quality is not
enough: agreement with the map judges, and the map keeps a share. docs/results.md has what was
compared.

Sizes: N class names, h x w the grid of the map, a x b SAM's finer one, R masks.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from escnet.errors import ConfigError
from escnet.inference.device import chosen_device
from escnet.inference.method import Method, ViewLogits
from escnet.inference.sam_prompting import Sam, SamPicture
from escnet.inference.training_free import load_training_free
from escnet.model.pseudo_prompt import PseudoPromptGenerator
from escnet.weights.catalog import require_local, tensor_file_of
from escnet.weights.origin import file_sha256
from escnet.weights.sam_model import load_sam_model

NUM_NEGATIVES = 4
DEFAULT_SHARE = 0.5  # of SAM's masks in the sharpened map
DEFAULT_MOST_CLASSES = 16

_LOW = 0.3  # negative points lie in the lowest 30 % of a map
_DECISIVENESS = 12.0  # how much more a mask counts that agrees better
_SMALLEST_VARIANCE = 1e-6

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


class TrainingFreeSam:
    """A method whose maps SAM sharpens.

    Args:
        base: The method that gives the maps.
        sam: SAM, on its device.
        share: Of SAM's masks in the sharpened map; 0 leaves the map as it is.
        most_classes: Of a view, the names that win somewhere go to SAM, the widest first, up to
            this many; the others keep their maps.
    """

    name = "training-free-sam"

    def __init__(
        self,
        base: Method,
        sam: Sam,
        *,
        share: float = DEFAULT_SHARE,
        most_classes: int = DEFAULT_MOST_CLASSES,
    ) -> None:
        self.base = base
        self.sam = sam
        self.share = share
        self.most_classes = most_classes
        self.template = base.template
        self.view_size = base.view_size

    @property
    def settings(self) -> Mapping[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        return {
            **self.base.settings,
            "base": self.base.name,
            "sam_share": self.share,
            "sam_most_classes": self.most_classes,
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
        """Of each view the logits on SAM's grid; a map's values keep their scale."""
        return [
            ViewLogits(self._sharpened(view, found.logits), found.kept)
            for view, found in zip(views, self.base.logits(views, text_embedding), strict=True)
        ]

    def _sharpened(
        self, view: UInt8[np.ndarray, "_ _ 3"], maps: Float[Tensor, "N h w"]
    ) -> Float[Tensor, "N a b"]:
        picture = self.sam.encode(view)
        maps = maps.float().to(self.sam.device)
        fine = F.interpolate(
            maps[None], size=picture.size_hw, mode="bilinear", align_corners=False
        )[0]
        for index in winners(maps)[: self.most_classes]:
            masks, quality = masks_for(self.sam, picture, maps[index])
            fine[index] = sharpened(fine[index], masks, quality, self.share)
        return fine


def winners(maps: Float[Tensor, "N h w"]) -> list[int]:
    """The classes that win somewhere, the one that wins most first."""
    count = torch.bincount(maps.argmax(dim=0).flatten(), minlength=len(maps))
    order = count.argsort(descending=True, stable=True)
    return [int(index) for index in order if count[index] > 0]


def masks_for(
    sam: Sam, picture: SamPicture, correlation: Float[Tensor, "h w"]
) -> tuple[Float[Tensor, "R a b"], Float[Tensor, " R"]]:
    """SAM's masks for one map, as probabilities, and the quality that SAM expects of each.

    Asked are: all points of the map's regions with negative points and the map itself as a mask
    prompt; and each region's point alone, since SAM answers better for one object than for five.
    """
    prompt = _GENERATOR(correlation[None, None])
    point = prompt.point_xy[0, 0][prompt.is_valid[0, 0]]  # (K, 2)
    away = negative_points(correlation)
    label = torch.cat([point.new_ones(len(point)), point.new_zeros(len(away))])
    together = sam.answer(picture, torch.cat([point, away])[None], label[None], prompt.mask[0, 0])
    alone = sam.answer(picture, point[:, None], point.new_ones(len(point), 1))
    logits = torch.cat([together.logits, alone.logits]).flatten(0, 1)  # (R, a, b)
    quality = torch.cat([together.quality, alone.quality]).flatten()
    return logits.sigmoid(), quality


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


def agreement(
    masks: Float[Tensor, "R a b"], correlation: Float[Tensor, "a b"]
) -> Float[Tensor, " R"]:
    """How well each mask explains a map: Pearson's coefficient over the pixels, -1 to 1.

    It needs no threshold and no scale of the map; a part of the object explains less than all.
    """
    mask = masks.flatten(1) - masks.flatten(1).mean(dim=1, keepdim=True)
    value = correlation.flatten() - correlation.mean()
    product = (mask * value).mean(dim=1)
    spread = mask.square().mean(dim=1) * value.square().mean()
    return product / spread.clamp(min=_SMALLEST_VARIANCE**2).sqrt()


def sharpened(
    correlation: Float[Tensor, "a b"],
    masks: Float[Tensor, "R a b"],
    quality: Float[Tensor, " R"],
    share: float,
) -> Float[Tensor, "a b"]:
    """A map whose edges are those of the masks that agree with it, in the map's own scale.

    The masks are averaged, those of high agreement and quality counting more; the average is given
    the levels inside and outside that explain the map best (least squares), and mixed with it.
    """
    score = agreement(masks, correlation) * quality.clamp(0, 1)
    weight = torch.softmax(_DECISIVENESS * score, dim=0)
    mask = torch.einsum("r,rab->ab", weight, masks)
    centred = mask - mask.mean()
    covariance = (centred * (correlation - correlation.mean())).mean()
    slope = covariance / centred.square().mean().clamp(min=_SMALLEST_VARIANCE)
    return (1 - share) * correlation + share * (correlation.mean() + slope * centred)


def load_training_free_sam(name: str, *, device: str, dtype: str) -> tuple[TrainingFreeSam, str]:
    """The method `CLIP+sam:SAM`, and the hash of both weights.

    Raises:
        WeightsError: If weights are not here, damaged, or of another family.
        ConfigError: If a part of the name is missing.
    """
    clip, sam, sam_hash = read_sam_name(name, device=device)
    base, base_hash = load_training_free(clip, device=device, dtype=dtype)
    return TrainingFreeSam(base, sam), sha256(f"{base_hash} {sam_hash}".encode()).hexdigest()


def read_sam_name(name: str, *, device: str) -> tuple[str, Sam, str]:
    """Of `CLIP+sam:SAM` the name of the CLIP, SAM on its device, and the hash of its file.

    Raises:
        WeightsError: If SAM's weights are not here, damaged, or of another family.
        ConfigError: If a part of the name is missing.
    """
    clip, _, source = name.partition("+sam:")
    if not clip or not source:
        raise ConfigError(f"model {name!r} lacks a part: write CLIP+sam:SAM")
    path = require_local(source)
    model = load_sam_model(path)
    file = path if path.is_file() else tensor_file_of(path)
    return clip, Sam(model, device=chosen_device(device)), file_sha256(file)
