"""The stage that trains the map to the joint space and the text map, on the correlation alone.

It costs little, as the image nets run once; then blocks and decoder join (`network.py`). Pictures
with texts take part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor

from escnet.mini.network import Mini
from escnet.mini.training.captions import CaptionedPictures, caption_loss
from escnet.mini.training.data import MiniData, NamedTarget, NetInput
from escnet.mini.training.map_loss import MapLoss, batch_of
from escnet.mini.training.parameters import decay_of, kind_of
from escnet.mini.training.recipe import AlignmentSection
from escnet.mini.training.views import ReadWhole
from escnet.training.broken_files import first_sound
from escnet.training.chance import Purpose, chance
from escnet.training.processes import Share
from escnet.training.stage import Batches, Microbatch, Stage, groups_by_kind

_LABEL_SIDE = 48
_CAPTIONS = 1 << 20  # their place in a batch, behind every labelled picture's
_CAPTIONS_AT_ONCE = 8  # pictures of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskBatch:
    """Some pictures with label maps.

    Attributes:
        inputs: Their feature maps.
        targets: Of each with all names that its source annotates.
        share: Of the step's loss.
    """

    inputs: NetInput
    targets: list[NamedTarget]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionBatch:
    """Some pictures with texts.

    Attributes:
        inputs: Their feature maps.
        rows: Of the texts that stand for the names of each; those that are said come first.
        num_said: How many these are.
        share: Of the step's loss.
    """

    inputs: NetInput
    rows: list[list[int]]
    num_said: list[int]
    share: float


class AlignmentLoss(MapLoss):
    """The correlation's loss, on label maps or on what texts say."""

    def forward(self, batch: MaskBatch | CaptionBatch) -> Float[Tensor, ""]:
        """The part of the step's loss that these pictures have."""
        patches = self.patches(batch.inputs)
        if isinstance(batch, MaskBatch):
            losses = self.correlation_losses(patches, batch.targets)
        else:
            maps = self.correlations(patches, batch.rows)
            losses = [
                caption_loss(one[0], num_said)
                for one, num_said in zip(maps, batch.num_said, strict=True)
            ]
        return torch.stack(losses).mean() * batch.share


class AlignmentStage(Stage):
    """The map to the joint space and the text map, before the blocks take part.

    Args:
        network: Of the built-in model's kind.
        data: What it is trained on.
        section: The recipe's settings of the stage.
        seed: Of the stage.

    Raises:
        ConfigError: If a source is named that there is not.
    """

    name = "alignment"

    def __init__(
        self, network: Mini, data: MiniData, section: AlignmentSection, *, seed: int
    ) -> None:
        self.schedule = self._section = section
        self.rates = {"head": 1.0, "text": section.text_rate}
        self.groups = groups_by_kind(
            network,
            lambda name: kind if (kind := kind_of(name)) in self.rates else None,
            decay_of(section.weight_decay),
        )
        self._network, self._data, self._seed = network, data, seed
        data.weights_of(section.source_weights)

    def begin(self) -> AlignmentLoss:
        """The loss; all pictures go through the image nets."""
        network, data, section = self._network.eval(), self._data, self._section
        network.vision.head.dropout.p = section.dropout
        self._store = data.features(network, data.paths, mirror=True)
        self._feed = data.feed(
            ReadWhole(self._store, _LABEL_SIDE),
            source_weights=section.source_weights,
            rarity=section.rarity,
            seed=self._seed,
        )
        if data.captions is not None:
            self._sampler = data.captions.sampler(self._seed)
            self._captioned = data.features(network, data.captions.paths, mirror=False)
        return AlignmentLoss(network, data.sentences, section)

    def set_mode(self) -> None:
        """The nets' norms stay as they are; those of the maps settle."""
        self._network.eval()
        self._network.vision.head.train()

    def batches(self, start: int, share: Share) -> Batches:
        """One microbatch, which every process works on.

        The norms of the maps take their statistics from the whole batch, which must not be split.
        """
        data = self._data
        numbers = Share().numbers(self.schedule, start)
        for step, examples in enumerate(self._feed.batches(numbers), start):
            batch = MaskBatch(
                inputs=batch_of(
                    [data.inputs_of(one, self._store) for one in examples], share.device
                ),
                targets=[data.target_of_all(one, self._seed) for one in examples],
                share=1 / share.count,
            )
            yield [Microbatch(0, batch), *self._captions(data.captions, step, share)]

    def _captions(
        self, captions: CaptionedPictures | None, step: int, share: Share
    ) -> Iterator[Microbatch]:
        """The pictures with texts of a step, which every process works on."""
        if captions is None:
            return
        inputs, rows, num_said = [], [], []
        for number in range(step * _CAPTIONS_AT_ONCE, (step + 1) * _CAPTIONS_AT_ONCE):
            place, maps, _ = first_sound(  # what is broken is counted already
                (self._sampler.place_of(number, attempt) for attempt in count()),
                lambda place: self._captioned.maps(captions.paths[place.row]),
            )
            random = chance(self._seed, Purpose.CAPTION, number)
            names = captions.names_of(place.row, random)
            inputs.append(maps)
            rows.append(self._data.names.draw(names.tolist(), random))
            num_said.append(len(captions.said[place.row]))
        batch = CaptionBatch(
            inputs=batch_of(inputs, share.device),
            rows=rows,
            num_said=num_said,
            share=1 / share.count,
        )
        yield Microbatch(_CAPTIONS, batch)
