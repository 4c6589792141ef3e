"""The losses of the two stages that learn from label maps, and from pictures with texts.

Sizes: M texts, V width of the sentence vectors, n class names of a picture.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from escnet.mini.network import Mini
from escnet.mini.training.captions import caption_loss
from escnet.mini.training.loss import partial_label_loss
from escnet.mini.training.recipe import AlignmentSection, NetworkSection
from escnet.mini.vision import PairedMaps
from escnet.towers.patches import Patches
from escnet.towers.resize import resized
from escnet.training.targets import names_shown

_SHOWN_PEAK = 0.1  # of the patches, where a name is that a picture shows somewhere

NetInput = PairedMaps | Tensor  # what the image nets made of some pictures, or the pictures


class NamedTarget(NamedTuple):
    """What the pixels of a picture say of the names that it is trained on.

    Attributes:
        rows: Of the texts that stand for the names.
        target: For each place a position in `rows`, or a value of `targets.py`.
    """

    rows: list[int]
    target: Int[Tensor, "_ _"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskBatch:
    """Some pictures with label maps.

    Attributes:
        inputs: The pictures, or their feature maps.
        all_names: Of each with all names that its source annotates, for the correlation's loss.
        some_names: Of each with the names that the whole network is asked for; none in the
            alignment.
        share: Of the step's loss.
    """

    inputs: NetInput
    all_names: list[NamedTarget]
    some_names: list[NamedTarget]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionBatch:
    """Some pictures with texts.

    Attributes:
        inputs: The pictures, or their feature maps.
        rows: Of the texts that stand for the names of each; those that are said come first.
        num_said: How many these are.
        peak_share: As in the recipe.
        share: Of the step's loss.
    """

    inputs: NetInput
    rows: list[list[int]]
    num_said: list[int]
    peak_share: float
    share: float


class _MaskLoss(nn.Module):
    """What both losses have: the correlation of patches with texts, and the loss of a map.

    Args:
        network: Of the built-in model's kind.
        sentences: The sentence vectors that the batches' rows mean.
        section: Weights of the parts of the loss.
    """

    sentences: Tensor

    def __init__(
        self,
        network: Mini,
        sentences: Float[Tensor, "M V"],
        section: AlignmentSection | NetworkSection,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("sentences", sentences, persistent=False)
        self._section = section

    def forward(self, batch: MaskBatch | CaptionBatch) -> Float[Tensor, ""]:
        """The part of the step's loss that these pictures have."""
        patches = self._patches(batch.inputs)
        if isinstance(batch, CaptionBatch):
            losses = self._caption_losses(patches, batch)
        else:
            losses = self._mask_losses(patches, batch)
        return torch.stack(losses).mean() * batch.share

    @abstractmethod
    def _mask_losses(self, patches: Patches, batch: MaskBatch) -> list[Tensor]:
        """Of each picture with a label map."""

    def _patches(self, inputs: NetInput) -> Patches:
        vision = self.network.vision
        if isinstance(inputs, Tensor):
            inputs = vision.read(inputs.contiguous(memory_format=torch.channels_last))
        return vision.project(inputs)

    def _correlations(self, patches: Patches, rows: Sequence[list[int]]) -> Iterator[Tensor]:
        """Of each picture with its own texts: (1, n, h, w)."""
        text = self.network.text
        with torch.autocast(patches.joint.device.type, enabled=False):
            for index, own in enumerate(rows):
                one = patches.of_picture(index)
                one = replace(one, joint=one.joint.float())
                yield self.network.correlate(one, text.to_joint(self.sentences[own]))

    def _correlation_losses(self, patches: Patches, targets: Sequence[NamedTarget]) -> list[Tensor]:
        logits = self._correlations(patches, [rows for rows, _ in targets])
        return [
            self._map_loss(one, target) for one, (_, target) in zip(logits, targets, strict=True)
        ]

    def _caption_losses(self, patches: Patches, batch: CaptionBatch) -> list[Tensor]:
        return [
            caption_loss(logits[0], num_said, batch.peak_share)
            for logits, num_said in zip(
                self._correlations(patches, batch.rows), batch.num_said, strict=True
            )
        ]

    def _map_loss(self, logits: Float[Tensor, "1 n _ _"], target: Int[Tensor, "h w"]) -> Tensor:
        height, width = target.shape
        logits = resized(logits.float(), (height, width))
        return partial_label_loss(
            logits[0],
            target.to(logits.device),
            binary_weight=self._section.binary_weight,
            cross_weight=self._section.cross_weight,
            overlap_weight=self._section.overlap_weight,
        )


class AlignmentLoss(_MaskLoss):
    """The correlation's loss on label maps, or on the names that they show."""

    _section: AlignmentSection

    def _mask_losses(self, patches: Patches, batch: MaskBatch) -> list[Tensor]:
        if self._section.labels == "maps":
            return self._correlation_losses(patches, batch.all_names)
        logits = self._correlations(patches, [rows for rows, _ in batch.all_names])
        return [
            present_names_loss(one[0], target)
            for one, (_, target) in zip(logits, batch.all_names, strict=True)
        ]


class NetworkLoss(_MaskLoss):
    """The logits' loss, with those of the maps before the blocks and of the correlation."""

    _section: NetworkSection

    def _mask_losses(self, patches: Patches, batch: MaskBatch) -> list[Tensor]:
        ((rows, target),) = batch.some_names
        text = self.network.text
        embedding = text.to_joint(self.sentences[rows])
        with _quick_attention(patches.joint.device):
            prediction = self.network.segment(patches, embedding)
        loss = self._map_loss(prediction.logits, target)
        for evidence in prediction.evidence:
            loss = loss + self._section.evidence_weight * self._map_loss(evidence, target)
        if self._section.correlation_weight:
            for one in self._correlation_losses(patches, batch.all_names):
                loss = loss + self._section.correlation_weight * one
        return [loss]


def present_names_loss(
    logits: Float[Tensor, "n h w"], target: Int[Tensor, "_ _"]
) -> Float[Tensor, ""]:
    """The loss of a picture of which only the names that it shows are known, not where they are.

    Args:
        logits: One map for each name.
        target: The label map, whose places do not count; one that shows no name has no loss.
    """
    shown = names_shown(target)
    if not len(shown):
        return 0 * logits.sum()
    others = np.setdiff1d(np.arange(len(logits)), shown)
    return caption_loss(logits[np.concatenate([shown, others])], len(shown), _SHOWN_PEAK)


def _quick_attention(device: torch.device) -> AbstractContextManager[None]:
    """On a processor, attention written out, as the gradient of torch's fused one is slower.

    With the few tokens and small windows of the blocks, in bfloat16, by a third; the ViT's
    long rows are the other way round.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
