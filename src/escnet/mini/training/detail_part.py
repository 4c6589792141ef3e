"""What the detail branch is shown of a picture, and how that is made harder.

Few pictures are labelled, those of one drive look alike, and the rest of the network knows them. So
half of the names that another part shows are pasted into a part now and then, with their pixels,
labels and all that the network says of them, and the same things stand before many backgrounds:
ClassMix (Olsson et al., WACV 2021) with true labels. And the network's logits are disturbed, so
that there is something to put right.

Sizes: n class names, s side of the view, D joint space, V the ViT's layers.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from escnet.training.targets import names_in, target_of_names

_WEAKER = (0.6, 1.0)  # factors of disturbed logits
_BY_NAME, _MOST_BY_REGION = 0.5, 1.5  # deviations of what is added to them
_REGIONS = 6  # on each side


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailPart:
    """A part of a picture, as the detail branch is shown it.

    Attributes:
        names: Indices into the vocabulary.
        image: Its pixels, in [0, 1].
        target: For each place of the branch's grid a position among the n names, or a value of
            `targets.py`.
        logits: What the rest of the network says, on that grid.
        vit: The ViT's layers.
        joint: Patch embeddings.
        shift: What the share prior adds to each name's logits.
        text: Text embeddings of the names.
        share: Of the step's loss.
    """

    names: Int[np.ndarray, " n"]
    image: Float[Tensor, "3 s s"]
    target: Int[Tensor, "_ _"]
    logits: Float[Tensor, "n _ _"]
    vit: Float[Tensor, "V _ _"]
    joint: Float[Tensor, "D _ _"]
    shift: Float[Tensor, " n"]
    text: Float[Tensor, "n D"]
    share: float

    def on(self, device: torch.device) -> "DetailPart":
        """The same with its tensors on a device.

        Args:
            device: Where they are wanted.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            n: v.to(device) for n, v in values.items() if isinstance(v, Tensor)
        }
        return replace(self, **moved)

    def of_names(self, names: Int[np.ndarray, " m"]) -> "DetailPart":
        """The same with some of its names alone; pixels of the others are none of them.

        Args:
            names: Some of `names`, in the same order.
        """
        rows = np.flatnonzero(np.isin(self.names, names))
        target = target_of_names(self.target, rows, len(self.names))
        kept = {name: getattr(self, name)[rows] for name in ("names", "logits", "shift", "text")}
        return replace(self, target=target, **kept)


def pasted(part: DetailPart, other: DetailPart, random: np.random.Generator) -> DetailPart:
    """A part with half of the names pasted into it that another shows.

    Names that only one of both was asked for are left out then: of the rest of the part, or of what
    is pasted, their logits are not known. Where no name is left to paste, the part stays as it is.
    A name's wording is the part's own, whatever the pasted logits were asked for by.

    Args:
        part: What is pasted into.
        other: What is pasted; of a picture whose source labels the same names.
        random: Chooses the names.
    """
    names = np.intersect1d(part.names, other.names)
    other = other.of_names(names)
    shown = names_in(other.target)
    if not len(shown):
        return part
    part = part.of_names(names)
    chosen = random.permutation(shown)[: (len(shown) + 1) // 2]
    mask = torch.isin(other.target, torch.from_numpy(chosen))

    def mixed(name: str) -> Tensor:
        own, new = getattr(part, name), getattr(other, name)
        return torch.where(_on_grid(mask, own.shape[-1]), new, own)

    maps: dict[str, Any] = {n: mixed(n) for n in ("image", "target", "logits", "vit", "joint")}
    return replace(part, **maps)


def disturbed(logits: Float[Tensor, "n h w"], random: np.random.Generator) -> Tensor:
    """Logits that are weaker, and off by something for each name and for each region of a name.

    Args:
        logits: Of a part of a picture.
        random: Decides by how much.
    """
    n = len(logits)
    scale, most = random.uniform(*_WEAKER), random.uniform(0, _MOST_BY_REGION)
    by_name = torch.from_numpy(random.normal(0, _BY_NAME, (n, 1, 1))).to(logits)
    coarse = torch.from_numpy(random.normal(0, most, (1, n, _REGIONS, _REGIONS))).to(logits)
    size = (logits.shape[1], logits.shape[2])
    by_region = F.interpolate(coarse, size=size, mode="bicubic", align_corners=False)[0]
    return scale * logits + by_name + by_region


def _on_grid(mask: Bool[Tensor, "c c"], side: int) -> Bool[Tensor, "side side"]:
    """Whether most of a place of another grid is in a mask."""
    return F.interpolate(mask[None, None].float(), size=(side, side), mode="area")[0, 0] > 0.5
