"""The stage that trains the whole network: blocks and decoder, and the image nets at a rate.

Each picture brings its own class names.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from escnet.mini.network import Mini
from escnet.mini.training.data import MiniData, NamedTarget, NetInput
from escnet.mini.training.map_loss import MapLoss, batch_of
from escnet.mini.training.parameters import decay_of, kind_of, tower_kind_of
from escnet.mini.training.recipe import NetworkSection
from escnet.mini.training.views import PartView, ReadPart, ReadWhole
from escnet.training.chance import Purpose, chance
from escnet.training.examples import Example
from escnet.training.processes import Share
from escnet.training.stage import Batches, Microbatch, Stage, groups_by_kind
from escnet.training.targets import names_in, some_names

_PIXELS_PER_LABEL = 2  # twice as fine as the decoder's grid, so that thin things keep their pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBatch:
    """A picture with a label map.

    Attributes:
        inputs: The picture, or its feature maps.
        some_names: With the names that the whole network is asked for.
        all_names: With all names that its source annotates, for the correlation's loss.
        share: Of the step's loss.
    """

    inputs: NetInput
    some_names: NamedTarget
    all_names: NamedTarget
    share: float


class NetworkLoss(MapLoss):
    """The logits' loss, with those of the maps before the blocks and of the correlation.

    Args:
        network: Of the built-in model's kind.
        sentences: The sentence vectors that the batches' rows mean.
        section: Weights of the parts of the loss.
    """

    def __init__(self, network: Mini, sentences: Tensor, section: NetworkSection) -> None:
        super().__init__(network, sentences, section)
        self._evidence_weight = section.evidence_weight
        self._correlation_weight = section.correlation_weight

    def forward(self, batch: NetworkBatch) -> Float[Tensor, ""]:
        """The part of the step's loss that this picture has."""
        patches = self.patches(batch.inputs)
        rows, target = batch.some_names
        text = self.network.text.to_joint(self.sentences[rows])
        with _quick_attention(patches.joint.device):
            prediction = self.network.segment(patches, text)
        loss = self.map_loss(prediction.logits, target)
        for evidence in prediction.evidence:
            loss = loss + self._evidence_weight * self.map_loss(evidence, target)
        if self._correlation_weight:
            (correlation,) = self.correlation_losses(patches, [batch.all_names])
            loss = loss + self._correlation_weight * correlation
        return loss * batch.share


class NetworkStage(Stage):
    """The whole network, but for its presence and its detail.

    Args:
        network: Of the built-in model's kind.
        data: What it is trained on.
        section: The recipe's settings of the stage.
        seed: Of the stage.

    Raises:
        ConfigError: If a source is named that there is not.
    """

    name = "network"

    def __init__(
        self, network: Mini, data: MiniData, section: NetworkSection, *, seed: int
    ) -> None:
        self._network, self._data, self._seed = network, data, seed
        self.schedule = self._section = section
        self.kept = section.kept
        self.rates = {
            "tower": section.tower_rate,
            "head": section.head_rate,
            "text": section.text_rate,
            "sam": section.sam_rate,
            "blocks": 1.0,
        }
        self.groups = groups_by_kind(network, self._kind_of, decay_of(section.weight_decay))
        data.weights_of(section.source_weights)

    def _kind_of(self, name: str) -> str | None:
        """The kind of a weight that has a rate.

        The sentence encoder and SAM's prompt encoder stay as they are (docs/paper-notes.md, note
        20), and so do the image nets, unless they have a rate.
        """
        num_blocks = self._network.config.vision_config["num_hidden_layers"]
        kind = tower_kind_of(name, num_blocks - self._section.vit_blocks) or kind_of(name)
        return kind if kind is not None and self.rates[kind] else None

    def begin(self) -> NetworkLoss:
        """The loss; where whole pictures are shown, all of them go through the image nets."""
        network, data, section = self._network.eval(), self._data, self._section
        side, vision = network.config.image_size, network.vision
        vision.head.dropout.p = section.dropout
        self._store = None
        read_view: ReadPart | ReadWhole
        if section.views is None:
            self._store = data.features(network, data.paths, mirror=True)
            read_view = ReadWhole(self._store, side // _PIXELS_PER_LABEL)
        else:
            read_view = ReadPart(section.views, side, side // _PIXELS_PER_LABEL)
            vision.net.to(memory_format=torch.channels_last)
        self._feed = data.feed(
            read_view,
            source_weights=section.source_weights,
            rarity=section.rarity,
            seed=self._seed,
        )
        return NetworkLoss(network, data.sentences, section)

    def set_mode(self) -> None:
        """All norms stay as they are."""
        self._network.eval()
        self._network.training = True  # of itself alone: it asks this before it saves memory
        self._network.vision.head.dropout.train()

    def batches(self, start: int, share: Share) -> Batches:
        """One microbatch a picture, as each has names of its own."""
        places = share.of(self.schedule.batch_size)
        for examples in self._feed.batches(share.numbers(self.schedule, start)):
            yield [
                Microbatch(place, self._batch(example, share.device))
                for place, example in zip(places, examples, strict=True)
            ]

    def _batch(self, example: Example[PartView], device: torch.device) -> NetworkBatch:
        data = self._data
        random = chance(self._seed, Purpose.NAMES, example.number)
        shown, annotated = names_in(example.view.target), data.source_of(example).annotated
        names = some_names(shown, annotated, self._section.names_per_picture, random)
        return NetworkBatch(
            inputs=batch_of([data.inputs_of(example, self._store)], device),
            some_names=data.named_target(example, names, random),
            all_names=data.target_of_all(example, self._seed),
            share=1 / self._section.batch_size,
        )


def _quick_attention(device: torch.device) -> AbstractContextManager[None]:
    """On a processor, attention written out, as the gradient of torch's fused one is slower.

    With the few tokens and small windows of the blocks, in bfloat16, by a third; the ViT's
    long rows are the other way round.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
