"""The two stages that learn from label maps: the alignment, and the whole network.

The alignment trains the map to the joint space on the correlation alone, which costs little; then
the blocks and the decoder join, and the image nets, if they have a rate. Each picture brings its
own class names. Pictures with texts can take part in both.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from escnet.data.image import read_image
from escnet.inference.label_maps.published_resize import square_image
from escnet.mini.network import Mini
from escnet.mini.training.data import Captions, MiniData
from escnet.mini.training.features import FeatureStore, compute_features
from escnet.mini.training.mask_loss import (
    AlignmentLoss,
    CaptionBatch,
    MaskBatch,
    NamedTarget,
    NetInput,
    NetworkLoss,
)
from escnet.mini.training.parameters import decay_of, kind_of, tower_kind_of
from escnet.mini.training.recipe import AlignmentSection, NetworkSection
from escnet.mini.training.views import PartView, ReadPart, ReadWhole
from escnet.mini.vision import PairedMaps
from escnet.training.broken_files import BrokenFiles, first_sound
from escnet.training.examples import Example
from escnet.training.processes import Share
from escnet.training.stage import Batches, Microbatch, Stage, groups_by_kind
from escnet.training.targets import names_shown, some_names, target_of_names

_PIXELS_PER_LABEL = 2  # twice as fine as the decoder's grid, so that thin things keep their pixels
_ALIGNMENT_SIDE = 48
_CAPTIONS = 1 << 20  # their place in a batch, behind every labelled picture's
_NAMES, _CAPTION = 3, 4  # kinds of chance, beside those of the sampler and of the examples


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
        self._vision = network.vision
        data.weights_of(section.source_weights)

    def begin(self) -> AlignmentLoss:
        """The loss; all pictures go through the image nets."""
        self._network.eval()
        self._vision.head.dropout.p = self._section.dropout
        self._store = _store_of(self._network, self._data, _paths_of(self._data), mirror=True)
        self._feed = self._data.feed(
            ReadWhole(_ALIGNMENT_SIDE, self._store.reason_of),
            source_weights=self._section.source_weights,
            rarity=self._section.rarity,
            seed=self._seed,
        )
        self._captions = _caption_feed(
            self._network, self._data, takes_part=self._section.captions, seed=self._seed
        )
        return AlignmentLoss(self._network, self._data.sentences, self._section)

    def set_mode(self) -> None:
        """The nets' norms stay as they are; those of the maps settle."""
        self._network.eval()
        self._vision.head.train()

    def batches(self, start: int, share: Share) -> Batches:
        """One microbatch, which every process works on.

        The norms of the maps take their statistics from the whole batch, which must not be split.
        """
        size = self._section.batch_size
        steps = range(start, self._section.steps)
        numbers = [range(step * size, (step + 1) * size) for step in steps]
        for step, examples in zip(steps, self._feed.batches(numbers), strict=True):
            batch = MaskBatch(
                inputs=_inputs_of(examples, self._data, self._store, share.device),
                all_names=[_with_all_names(one, self._data, self._seed) for one in examples],
                some_names=[],
                share=1 / share.count,
            )
            yield [Microbatch(0, batch), *self._captions.microbatches(step, share)]


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
        self._vision = network.vision
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
        section, side = self._section, self._network.config.image_size
        self._network.eval()
        self._vision.head.dropout.p = section.dropout
        self._store = None
        read_view: ReadPart | ReadWhole
        if section.views is None:
            self._store = _store_of(self._network, self._data, _paths_of(self._data), mirror=True)
            read_view = ReadWhole(side // _PIXELS_PER_LABEL, self._store.reason_of)
        else:
            read_view = ReadPart(section.views, side, side // _PIXELS_PER_LABEL)
            self._vision.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._feed = self._data.feed(
            read_view,
            source_weights=section.source_weights,
            rarity=section.rarity,
            seed=self._seed,
        )
        self._captions = _caption_feed(
            self._network,
            self._data,
            takes_part=section.captions,
            seed=self._seed,
            is_stored=section.views is None,
        )
        return NetworkLoss(self._network, self._data.sentences, section)

    def set_mode(self) -> None:
        """All norms stay as they are."""
        self._network.eval()
        self._network.training = True  # of itself alone: it asks this before it saves memory
        self._vision.head.dropout.train()

    def batches(self, start: int, share: Share) -> Batches:
        """One microbatch a picture, as each has names of its own."""
        size = self._section.batch_size
        steps = range(start, self._section.steps)
        numbers = [[step * size + place for place in share.of(size)] for step in steps]
        for step, examples in zip(steps, self._feed.batches(numbers), strict=True):
            microbatches = [
                Microbatch(place, self._batch(example, share.device))
                for place, example in zip(share.of(size), examples, strict=True)
            ]
            yield [*microbatches, *self._captions.microbatches(step, share)]

    def _batch(self, example: Example[PartView], device: torch.device) -> MaskBatch:
        random = np.random.default_rng([self._seed, _NAMES, example.number])
        source = self._data.sources.sources[example.place.source]
        shown = names_shown(example.view.target)
        names = some_names(shown, source.annotated, self._section.names_per_picture, random)
        return MaskBatch(
            inputs=_inputs_of([example], self._data, self._store, device),
            all_names=[_with_all_names(example, self._data, self._seed)],
            some_names=[_named_target(example, names, self._data, random)],
            share=1 / self._section.batch_size,
        )


class _NoCaptions:
    """Where pictures with texts take no part."""

    def microbatches(self, step: int, share: Share) -> Iterator[Microbatch]:
        """None."""
        del step, share
        yield from ()


class _CaptionFeed:
    """Pictures with texts, a microbatch a step.

    Args:
        network: Whose input they become.
        data: Where their names' texts are.
        captions: The pictures.
        store: Their feature maps; None where the image nets run in every step.
        seed: Of the stage.
    """

    def __init__(
        self,
        network: Mini,
        data: MiniData,
        captions: Captions,
        store: FeatureStore | None,
        *,
        seed: int,
    ) -> None:
        self._side, self._data, self._seed = network.config.image_size, data, seed
        self._pictures, self._section, self._store = captions.pictures, captions.section, store
        self._sampler = captions.pictures.sampler(seed)
        self._broken = BrokenFiles(len(self._pictures.paths)) if store is None else store.broken

    def microbatches(self, step: int, share: Share) -> Iterator[Microbatch]:
        """The one of a step, which every process works on."""
        size = self._section.batch_size
        inputs, rows, num_said = [], [], []
        for number in range(step * size, (step + 1) * size):
            row, image = self._sound(number)
            random = np.random.default_rng([self._seed, _CAPTION, number])
            names = self._pictures.names_of(row, self._section.num_others, random)
            inputs.append(image)
            rows.append(self._data.names.draw(names.tolist(), random))
            num_said.append(len(self._pictures.said[row]))
        batch = CaptionBatch(
            inputs=_together(inputs, share.device),
            rows=rows,
            num_said=num_said,
            peak_share=self._section.peak_share,
            share=self._section.weight / share.count,
        )
        yield Microbatch(_CAPTIONS, batch)

    def _sound(self, number: int) -> tuple[int, NetInput]:
        """The picture of a number, or another one where it is broken."""
        drawn = (self._sampler.place_of(number, attempt) for attempt in count())
        place, image, broken = first_sound(
            ((one.source, one.row), partial(self._input_of, self._pictures.paths[one.row]))
            for one in drawn
        )
        self._broken.count(place, broken)
        return place[1], image

    def _input_of(self, path: Path) -> NetInput:
        if self._store is not None:
            return self._store.maps(path)
        return torch.from_numpy(square_image(read_image(path), self._side))[None]


def _caption_feed(
    network: Mini, data: MiniData, *, takes_part: bool, seed: int, is_stored: bool = True
) -> _CaptionFeed | _NoCaptions:
    captions = data.captions
    if captions is None or not takes_part:
        return _NoCaptions()
    paths = captions.pictures.paths
    store = _store_of(network, data, paths, mirror=False) if is_stored else None
    return _CaptionFeed(network, data, captions, store, seed=seed)


def _store_of(
    network: Mini, data: MiniData, paths: Sequence[Path], *, mirror: bool
) -> FeatureStore:
    vision = network.vision
    side = network.config.image_size
    return compute_features(vision, paths, data.cache / "features", image_size=side, mirror=mirror)


def _paths_of(data: MiniData) -> list[Path]:
    return [one.image_path for source in data.sources.sources for one in source.pictures]


def _inputs_of(
    examples: Sequence[Example[PartView]],
    data: MiniData,
    store: FeatureStore | None,
    device: torch.device,
) -> NetInput:
    inputs: list[NetInput] = []
    for example in examples:
        image, _, part = example.view
        picture = data.sources.sources[example.place.source].pictures[example.place.row]
        if image is not None:
            inputs.append(image[None])
        elif store is not None:
            inputs.append(store.maps(picture.image_path, mirrored=part.is_mirrored))
    return _together(inputs, device)


def _together(inputs: Sequence[NetInput], device: torch.device) -> NetInput:
    """What the network is shown of several pictures, as one batch."""
    if isinstance(inputs[0], Tensor):
        return torch.cat([one for one in inputs if isinstance(one, Tensor)]).to(device)
    return PairedMaps(*(torch.cat(parts).to(device) for parts in zip(*inputs, strict=True)))


def _with_all_names(example: Example[PartView], data: MiniData, seed: int) -> NamedTarget:
    """With all names that the picture's source annotates."""
    random = np.random.default_rng([seed, _NAMES, example.number, 1])
    names = np.array(data.sources.sources[example.place.source].annotated, np.int64)
    return _named_target(example, names, data, random)


def _named_target(
    example: Example[PartView], names: np.ndarray, data: MiniData, random: np.random.Generator
) -> NamedTarget:
    target = target_of_names(example.view.target, names, len(data.sources.names))
    return NamedTarget(data.names.draw(names.tolist(), random), target)
