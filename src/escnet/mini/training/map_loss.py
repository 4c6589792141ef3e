"""The loss of maps of class names, on a picture's label map.

Sizes: M texts, V width of the sentence vectors, n class names of a picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.mini.network import Mini
from escnet.mini.training.data import NamedTarget, NetInput
from escnet.mini.training.recipe import AlignmentSection, NetworkSection
from escnet.mini.vision import PairedMaps
from escnet.towers.patches import Patches
from escnet.towers.resize import resized
from escnet.training.loss import binary_loss, cross_loss, overlap_loss


class MapLoss(nn.Module):
    """What the alignment's loss and the network's have in common.

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
        self._weights = section

    def patches(self, inputs: NetInput) -> Patches:
        """What the image tower makes of some pictures."""
        vision = self.network.vision
        if isinstance(inputs, Tensor):
            inputs = vision.read(inputs.contiguous(memory_format=torch.channels_last))
        return vision.project(inputs)

    def correlations(
        self, patches: Patches, rows: Sequence[list[int]]
    ) -> Iterator[Float[Tensor, "1 n h w"]]:
        """The correlation of each picture with its own texts."""
        text = self.network.text
        with torch.autocast(patches.joint.device.type, enabled=False):
            for index, own in enumerate(rows):
                one = patches.of_picture(index)
                one = replace(one, joint=one.joint.float())
                yield self.network.correlate(one, text.to_joint(self.sentences[own]))

    def correlation_losses(self, patches: Patches, targets: Sequence[NamedTarget]) -> list[Tensor]:
        """The loss of each picture's correlation."""
        maps = self.correlations(patches, [rows for rows, _ in targets])
        return [self.map_loss(one, target) for one, (_, target) in zip(maps, targets, strict=True)]

    def map_loss(
        self, logits: Float[Tensor, "1 n _ _"], target: Int[Tensor, "h w"]
    ) -> Float[Tensor, ""]:
        """The loss of a picture's maps, enlarged to its label map."""
        logits = resized(logits.float(), (target.shape[0], target.shape[1]))
        target = target[None].to(logits.device)
        weights = self._weights
        loss = weights.binary_weight * summed_binary_loss(logits, target)
        loss = loss + weights.cross_weight * cross_loss(logits, target)
        if weights.overlap_weight:
            loss = loss + weights.overlap_weight * overlap_loss(logits, target)
        return loss[0]


def summed_binary_loss(
    logits: Float[Tensor, "B n h w"], target: Int[Tensor, "B h w"]
) -> Float[Tensor, " B"]:
    """Binary cross-entropy, summed over the names.

    It makes a confidence that can say "none of them" (docs/paper-notes.md, note 18), beside the
    cross-entropy, which makes the names compete.
    """
    return logits.shape[1] * binary_loss(logits, target)


def batch_of(inputs: Sequence[NetInput], device: torch.device) -> NetInput:
    """What the network is shown of several pictures, all pixels or all feature maps."""
    if isinstance(inputs[0], Tensor):
        return torch.cat([one for one in inputs if isinstance(one, Tensor)]).to(device)
    return PairedMaps(*(torch.cat(parts).to(device) for parts in zip(*inputs, strict=True)))
