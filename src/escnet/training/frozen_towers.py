"""Training behind frozen towers: the alignment first, then the whole network.

The towers are run once (`features.py`). The alignment trains the map to the joint space on the
correlation alone, which costs little; then the blocks and the decoder join. One picture at a time
brings its own class names.

Sizes: M texts, V width of the sentence vectors, n class names of a picture.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import chain, count
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.mini.network import Mini
from escnet.mini.vision import PairedMaps
from escnet.towers.patches import Patches
from escnet.towers.resize import resized
from escnet.training.broken_files import BrokenFiles, first_sound
from escnet.training.captions import Captioned, CaptionedPictures, caption_loss
from escnet.training.config import CaptionsSection, DataSection, TrainingSection
from escnet.training.examples import (
    Example,
    ExampleSource,
    Views,
    shared_classes,
    shown_in,
    some_names_of,
)
from escnet.training.features import FeatureStore, weights_hash, whole_view
from escnet.training.loss import partial_label_loss
from escnet.training.parameters import SAM_WEIGHT
from escnet.training.task import Batches, ParameterGroups, Portion, Share

_PIXELS_PER_LABEL = 2  # twice as fine as the decoder's grid, so that thin things keep their pixels
_ALIGNMENT_SIDE = 48
_SHOWN_PEAK = 0.1  # of the patches, where a name is that a picture shows somewhere
_CAPTIONS = 1 << 20  # their place in a batch, behind every labelled picture's


class Shown(NamedTuple):
    """A picture of a step, and the rows of the texts that its names are called by."""

    example: Example
    rows: list[int]


Seen = PairedMaps | Tensor  # what the image nets made of some pictures, or the pictures themselves


@dataclass(frozen=True, slots=True)
class Content:
    """Some pictures, and how much of the step's loss is theirs.

    Attributes:
        pictures: What is known of them.
        all_names: The same with all names that their sources annotate, for the correlation's loss;
            empty in the alignment, where `pictures` have them all.
        seen: The pictures, or their feature maps.
        share: Of the step's loss.
        is_alignment: Whether the correlation alone is trained.
    """

    pictures: list[Shown]
    all_names: list[Shown]
    seen: Seen
    share: float
    is_alignment: bool


@dataclass(frozen=True, slots=True)
class CaptionsContent:
    """Some pictures with texts, and the rows of the names' texts."""

    pictures: list[Captioned]
    rows: list[list[int]]
    seen: Seen
    section: CaptionsSection
    share: float


@dataclass(frozen=True, slots=True)
class Captions:
    """Pictures with texts, and their feature maps unless the nets see them in every step."""

    pictures: CaptionedPictures
    store: FeatureStore | None
    section: CaptionsSection


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenTowersData:
    """What is shown, and what it is called.

    Attributes:
        dataset: The pictures.
        store: Their feature maps; None where the image nets see the pictures in every step.
        sentences: The sentence vector of every text that stands for a class name.
        wordings: For each of the dataset's class names its rows in `sentences`, its own first.
        section: The recipe's settings of it.
        captions: Pictures with texts beside them, if there are any.
    """

    dataset: FolderDataset
    store: FeatureStore | None
    sentences: Float[Tensor, "M V"]
    wordings: Sequence[Sequence[int]]
    section: DataSection
    captions: Captions | None = None


class FrozenTowersTask:
    """The built-in model's training.

    Args:
        network: Of its kind.
        data: What it is trained on.
        training: The schedule.
    """

    def __init__(self, network: Mini, data: FrozenTowersData, training: TrainingSection) -> None:
        self.network = network
        self.num_steps = training.alignment_steps + training.steps
        self.divides = training.batch_size
        self.loss = FrozenTowersLoss(network, data.sentences, training)
        self.groups = frozen_towers_groups(network, training)
        self._training = training
        self._data = data
        self._vision = network.vision
        self._vision.head.dropout.p = training.dropout
        views = None
        if data.section.views is not None:
            views = Views(settings=data.section.views, side=network.config.image_size)
            self._vision.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        broken = _broken_of(data.store, len(data.dataset))
        self._examples, self._alignment_examples = (
            ExampleSource(
                data.dataset,
                side=side,
                source_weights=data.section.source_weights,
                withheld=data.section.withheld,
                rarity=data.section.rarity,
                views=views,
                broken=broken,
            )
            for side in (network.config.image_size // _PIXELS_PER_LABEL, _ALIGNMENT_SIDE)
        )
        if data.captions is not None:
            num_pictures = len(data.captions.pictures.items)
            self._captions_broken = _broken_of(data.captions.store, num_pictures)

    def identity(self) -> Mapping[str, Any]:
        """The network, its frozen weights, the pictures, and what is said of them."""
        captions = self._data.captions
        others = [] if captions is None else captions.pictures.items
        return {
            **identity_of(self.network, self.groups, self._data.dataset, others),
            "texts": None if captions is None else captions.pictures.pictures.content_hash(),
        }

    def phase_of(self, step: int) -> tuple[str, int, int]:
        """Alignment, then the whole network."""
        if self._is_alignment(step):
            return "alignment", 0, self._training.alignment_steps
        return "whole network", self._training.alignment_steps, self._training.steps

    def begin(self, step: int) -> None:
        """The nets' norms stay as they are; those of the maps settle during the alignment."""
        self.network.eval()
        self.network.training = True  # of itself alone: it asks this before it saves memory
        self._vision.head.train(self._is_alignment(step))
        self._vision.head.dropout.train(True)

    def rate_factors(self, step: int) -> Mapping[str, float]:
        """Blocks rest during the alignment; after it the head learns little."""
        training, is_alignment = self._training, self._is_alignment(step)
        return {
            "tower": training.tower_rate,
            "head": 1.0 if is_alignment else training.head_rate,
            "text": training.text_rate * (1.0 if is_alignment else training.head_rate),
            "sam": 0.0 if is_alignment else training.sam_rate,
            "blocks": 0.0 if is_alignment else 1.0,
        }

    def batches(self, start: int, share: Share) -> Batches:
        """One portion a picture; an alignment step is one portion that every process works on.

        The norms of the maps take their statistics from the whole batch, which must not be split.
        """
        for step in range(start, self.num_steps):
            if self._is_alignment(step):
                places = range(self._training.alignment_batch_size)
                portions = [Portion(0, self._content(step, places, 1 / share.count, share.device))]
            else:
                size = self._training.batch_size
                portions = [
                    Portion(place, self._content(step, [place], 1 / size, share.device))
                    for place in share.of(size)
                ]
            yield [*portions, *self._caption_portions(step, share)]

    def _caption_portions(self, step: int, share: Share) -> Iterator[Portion]:
        """One portion that every process works on, if there are texts."""
        captions = self._data.captions
        if captions is None:
            return
        section, random = captions.section, self._random(step, _CAPTIONS)
        drawn = [
            captions.pictures.draw(random, section.num_others) for _ in range(section.batch_size)
        ]
        sound = [self._sound_caption(captions, one, random) for one in drawn]
        pictures = [one for one, _ in sound]
        content = CaptionsContent(
            pictures=pictures,
            rows=[worded(one.names, self._data.wordings, random) for one in pictures],
            seen=_together([seen for _, seen in sound], share.device),
            section=section,
            share=section.weight / share.count,
        )
        yield Portion(_CAPTIONS, content)

    def _random(self, step: int, place: int) -> np.random.Generator:
        return np.random.default_rng([self._training.seed, step, place])

    def _sound_caption(
        self, captions: Captions, drawn: Captioned, random: np.random.Generator
    ) -> tuple[Captioned, Seen]:
        """A picture, or the next ones drawn where it is broken, and what is seen of it."""
        others = (captions.pictures.draw(random, captions.section.num_others) for _ in count())
        place, found, broken = first_sound(
            ((0, one.row), partial(self._with_picture, captions, one))
            for one in chain([drawn], others)
        )
        self._captions_broken.count(place, broken)
        return found

    def _with_picture(self, captions: Captions, drawn: Captioned) -> tuple[Captioned, Seen]:
        return drawn, self._whole_picture(captions, drawn)

    def _whole_picture(self, captions: Captions, drawn: Captioned) -> Seen:
        if captions.store is not None:
            return captions.store.maps([drawn.item.stem])
        return whole_view(drawn.item.image_path, self.network.config.image_size)[None]

    def _content(
        self, step: int, places: Sequence[int], share: float, device: torch.device
    ) -> Content:
        is_alignment = self._is_alignment(step)
        random = [self._random(step, place) for place in places]
        source = self._alignment_examples if is_alignment else self._examples
        examples = [source.draw(own, None) for own in random]
        seen = self._seen(examples, device)
        every = [self._shown(*pair) for pair in zip(examples, random, strict=True)]
        if is_alignment:
            return Content(every, [], seen, share, is_alignment)
        most = self._training.names_per_picture
        pictures = [
            self._shown(some_names_of(example, most, own), own)
            for example, own in zip(examples, random, strict=True)
        ]
        with_all = every if self._training.correlation_weight else []
        return Content(pictures, with_all, seen, share, is_alignment)

    def _seen(self, examples: Sequence[Example], device: torch.device) -> Seen:
        if self._data.store is None:
            return torch.stack([one.image for one in examples if one.image is not None]).to(device)
        views = [
            self._data.store.maps([one.item.stem], mirrored=one.part.is_mirrored)
            for one in examples
        ]
        return _together(views, device)

    def _shown(self, example: Example, random: np.random.Generator) -> Shown:
        return Shown(example, worded(example.names, self._data.wordings, random))

    def _is_alignment(self, step: int) -> bool:
        return step < self._training.alignment_steps


def _broken_of(store: FeatureStore | None, num_pictures: int) -> BrokenFiles:
    """The pictures that are known to be broken before the first step."""
    return BrokenFiles(num_pictures) if store is None else store.broken


def _together(seen: Sequence[Seen], device: torch.device) -> Seen:
    """What is seen of several pictures as one batch."""
    if isinstance(seen[0], Tensor):
        return torch.cat([one for one in seen if isinstance(one, Tensor)]).to(device)
    return PairedMaps(*(torch.cat(parts).to(device) for parts in zip(*seen, strict=True)))


class FrozenTowersLoss(nn.Module):
    """From feature maps to a loss.

    Args:
        network: Of the built-in model's kind.
        sentences: The sentence vectors that the pictures' rows mean.
        training: Weights of the parts of the loss.
    """

    sentences: Tensor

    def __init__(
        self, network: Mini, sentences: Float[Tensor, "M V"], training: TrainingSection
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("sentences", sentences, persistent=False)
        self._training = training

    def forward(self, content: Content | CaptionsContent) -> Float[Tensor, ""]:
        """The part of the step's loss that these pictures have."""
        if isinstance(content, CaptionsContent):
            losses = self._caption_losses(content)
        elif content.is_alignment:
            losses = self._alignment_losses(content)
        else:
            losses = [self._whole_loss(content)]
        return torch.stack(losses).mean() * content.share

    def _alignment_losses(self, content: Content) -> list[Tensor]:
        patches = self._patches(content.seen)
        if self._training.alignment_labels == "maps":
            return self._correlation_losses(patches, content.pictures)
        return [
            shown_names_loss(logits[0], example.target)
            for logits, example in self._with_correlations(patches, content.pictures)
        ]

    def _correlation_losses(self, patches: Patches, pictures: Sequence[Shown]) -> list[Tensor]:
        return [
            self._loss(logits, example)
            for logits, example in self._with_correlations(patches, pictures)
        ]

    def _with_correlations(
        self, patches: Patches, pictures: Sequence[Shown]
    ) -> Iterator[tuple[Tensor, Example]]:
        logits = self._correlations(patches, [rows for _, rows in pictures])
        return zip(logits, (example for example, _ in pictures), strict=True)

    def _caption_losses(self, content: CaptionsContent) -> list[Tensor]:
        patches = self._patches(content.seen)
        return [
            caption_loss(logits[0], picture.num_said, content.section.peak_share)
            for logits, picture in zip(
                self._correlations(patches, content.rows), content.pictures, strict=True
            )
        ]

    def _patches(self, seen: Seen) -> Patches:
        vision = self.network.vision
        if isinstance(seen, Tensor):
            image = seen.contiguous(memory_format=torch.channels_last)
            seen = vision.read(image)
        return vision.project(seen)

    def _correlations(self, patches: Patches, rows: Sequence[list[int]]) -> Iterator[Tensor]:
        """Of each picture with its own texts: (1, n, h, w)."""
        text = self.network.text
        with torch.autocast(patches.joint.device.type, enabled=False):
            for index, own in enumerate(rows):
                one = patches.of_picture(index)
                one = replace(one, joint=one.joint.float())
                yield self.network.correlate(one, text.to_joint(self.sentences[own]))

    def _whole_loss(self, content: Content) -> Tensor:
        ((example, rows),) = content.pictures
        text = self.network.text
        embedding = text.to_joint(self.sentences[rows])
        patches = self._patches(content.seen)
        with _quick_attention(patches.joint.device):
            prediction = self.network.segment(patches, embedding)
        loss = self._loss(prediction.logits, example)
        for evidence in prediction.evidence:
            loss = loss + self._training.evidence_weight * self._loss(evidence, example)
        for one in self._correlation_losses(patches, content.all_names):
            loss = loss + self._training.correlation_weight * one
        return loss

    def _loss(self, logits: Float[Tensor, "1 n _ _"], example: Example) -> Tensor:
        height, width = example.target.shape
        logits = resized(logits.float(), (height, width))
        return partial_label_loss(
            logits[0],
            example.target.to(logits.device),
            binary_weight=self._training.binary_weight,
            cross_weight=self._training.cross_weight,
            balance=self._training.balance,
            overlap_weight=self._training.overlap_weight,
        )


def shown_names_loss(
    logits: Float[Tensor, "n h w"], target: Int[Tensor, "_ _"]
) -> Float[Tensor, ""]:
    """The loss of a picture of which only the names that it shows are known, not where they are.

    Args:
        logits: One map for each name.
        target: The label map, whose places do not count; one that shows no name has no loss.
    """
    shown = shown_in(target)
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


def worded(
    names: Int[np.ndarray, " n"], wordings: Sequence[Sequence[int]], random: np.random.Generator
) -> list[int]:
    """The row of a text for each name: its own every other time, else one of its synonyms'."""
    rows = []
    for name in names:
        own, *others = wordings[name]
        is_own = not others or random.integers(2)
        rows.append(own if is_own else others[int(random.integers(len(others)))])
    return rows


def frozen_towers_groups(network: Mini, training: TrainingSection) -> ParameterGroups:
    """What is trained, by kind of rate and weight decay; everything else is frozen here.

    The sentence encoder and SAM's prompt encoder stay as they are (docs/paper-notes.md, note 20),
    and so do the image nets, unless they have a rate.
    """
    num_blocks = network.config.vision_config["num_hidden_layers"]
    first_block = num_blocks - min(num_blocks, training.vit_blocks)

    def kind_in_step(name: str) -> str | None:
        if training.tower_rate and is_open_tower(name, first_block):
            return "tower"
        kind = kind_of(name)
        return None if kind == "sam" and not training.sam_rate else kind

    return groups_by_kind(network, kind_in_step, training.weight_decay)


def groups_by_kind(
    network: Mini, kind_of_name: Callable[[str], str | None], weight_decay: float
) -> ParameterGroups:
    """The parameters that have a kind of rate, by it and by weight decay; all others are frozen.

    Args:
        network: The network.
        kind_of_name: The kind of a parameter; None for those that are frozen here.
        weight_decay: Of everything but biases, norms and single numbers.
    """
    groups: dict[tuple[str, float], dict[str, nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        kind = kind_of_name(name)
        parameter.requires_grad_(kind is not None)
        if kind is not None:
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((kind, decay), {})[name] = parameter
    return groups


def identity_of(
    network: Mini,
    groups: ParameterGroups,
    dataset: FolderDataset,
    others: Sequence[LabelledPicture] = (),
) -> dict[str, Any]:
    """What must be equal for a state to be taken up: network, frozen weights, pictures, names.

    Args:
        network: The network.
        groups: What of it is trained.
        dataset: The pictures with label maps.
        others: Further pictures.
    """
    trained = {name for group in groups.values() for name in group}
    frozen = {n: p for n, p in network.named_parameters() if n not in trained}
    stems = "\n".join(item.stem for item in [*dataset, *others])
    return {
        "network": network.config.to_dict(),
        "frozen weights": weights_hash(frozen),
        "pictures": sha256(stems.encode()).hexdigest(),
        "class names": list(shared_classes(dataset)),
        "annotated": {name: list(dataset.source(name).annotated) for name in dataset.sources},
    }


def is_open_tower(name: str, first_block: int) -> bool:
    """Whether a weight is of the convolutional net before its classifier, or of the ViT's end.

    Args:
        name: Of the weight.
        first_block: The first of the ViT's blocks that counts.
    """
    if name.startswith("vision.net."):
        return "._fc." not in name
    if name.startswith("vision.vit.encoder.layer."):
        return int(name.split(".")[4]) >= first_block
    return False


def kind_of(name: str) -> str | None:
    """The kind of rate that a weight of the built-in network is trained at; None if frozen."""
    if name.startswith(("vision.head.", "logit_")):
        return "head"
    if name.startswith("text.to_joint."):
        return "text"
    if name.startswith(("vision.", "text.", "prompt_encoder.", "presence.", "detail.")):
        return None
    if SAM_WEIGHT.search(name):
        return "sam"
    return "blocks"
