"""Training on pictures as they come off the disk, towers included: the paper's recipe.

Sizes: B pictures, N class names of a pass, s the network's side, c the label map's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from escnet.inference.methods.tokens import Tokenize
from escnet.model.escnet import Prediction
from escnet.towers.network import Network
from escnet.towers.resize import resized
from escnet.training.augmentation import augmented
from escnet.training.chance import Purpose, chance
from escnet.training.examples import Example, ExampleFeed, Examples
from escnet.training.loss import binary_loss, cross_loss
from escnet.training.name_embeddings import NameEmbeddings
from escnet.training.parameters import HEAD, SAM, TOWERS, pictures_groups
from escnet.training.pictures_recipe import AugmentationSection, PicturesRecipe, PicturesSection
from escnet.training.processes import Share
from escnet.training.sampler import Sampler
from escnet.training.sources import Source, Sources, source_weights
from escnet.training.stage import Batches, Microbatch, Stage
from escnet.training.targets import UNKNOWN, names_in, some_names, target_of_names


class LabelledImage(NamedTuple):
    """What is seen of a picture.

    Attributes:
        image: In [0, 1].
        target: For each pixel an index into the vocabulary, or a value of `targets.py`.
    """

    image: Float[Tensor, "3 s s"]
    target: Int[Tensor, "c c"]


@dataclass(frozen=True, slots=True)
class ReadCrop:
    """Reads an augmented crop of a picture.

    Attributes:
        augmentation: What is done to a picture.
        side: s.
    """

    augmentation: AugmentationSection
    side: int

    def __call__(self, source: Source, row: int, random: np.random.Generator) -> LabelledImage:
        """The crop, and the labels of its pixels.

        Raises:
            DatasetError: If the label map is broken.
            ImageError: If the picture is.
        """
        picture, labels = source.read(row)
        pixels, target = augmented(picture, labels, self.augmentation, random, beyond=UNKNOWN)
        image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        image = resized(image[None], (self.side, self.side))[0].contiguous()
        return LabelledImage(image, torch.from_numpy(target))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledBatch:
    """Some pictures with the same class names.

    Attributes:
        image: In [0, 1].
        target: For each pixel a position in `row`, or a value of `targets.py`.
        row: The names, as rows of the vocabulary.
        is_known: Whether a picture's source annotates a name.
        share: How much of the step's loss a picture is.
    """

    image: Float[Tensor, "B 3 s s"]
    target: Int[Tensor, "B c c"]
    row: Int[Tensor, " N"]
    is_known: Bool[Tensor, "B N"]
    share: float


class PicturesLoss(nn.Module):
    """The dense loss of the logits, and of the maps that the blocks read their prompts off.

    Args:
        network: With its towers.
        names: The class names' text embeddings.
        section: Which loss.
        evidence_weight: Weight of the maps' loss.
    """

    def __init__(
        self,
        network: Network,
        names: nn.Module,
        section: PicturesSection,
        evidence_weight: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.names = names
        self._section = section
        self._evidence_weight = evidence_weight

    def forward(self, batch: LabelledBatch) -> Float[Tensor, ""]:
        """The part of the step's loss that these pictures have."""
        text = self.names(batch.row)
        prediction = self.network.segment(self.network.vision(batch.image), text)
        loss = self._dense(prediction.logits, batch)
        if self._evidence_weight and isinstance(prediction, Prediction):
            for evidence in prediction.evidence:
                loss = loss + self._evidence_weight * self._dense(evidence, batch)
        return loss.sum() * batch.share

    def _dense(self, logits: Float[Tensor, "B N _ _"], batch: LabelledBatch) -> Float[Tensor, " B"]:
        """The loss of each picture, at the resolution of its label map."""
        logits = resized(logits.float(), (batch.target.shape[1], batch.target.shape[2]))
        if self._section.loss == "ce":
            return cross_loss(logits, batch.target, batch.is_known)
        unlabelled = self._section.unlabelled
        return binary_loss(logits, batch.target, batch.is_known, unlabelled=unlabelled)


class PicturesStage(Stage):
    """The paper's training, which has this one stage.

    Args:
        network: With its towers.
        tokenize: Of its text tower.
        sources: The labelled pictures.
        recipe: What is trained of the network, and how.
    """

    name = "pictures"

    def __init__(
        self, network: Network, tokenize: Tokenize, sources: Sources, recipe: PicturesRecipe
    ) -> None:
        self._network, self._tokenize, self._sources = network, tokenize, sources
        self._pictures, self._training = recipe.pictures, recipe.training
        self.schedule = recipe.training
        self.groups = pictures_groups(
            network,
            recipe.towers,
            weight_decay=recipe.training.weight_decay,
            has_evidence_loss=recipe.training.evidence_weight > 0,
        )
        self.rates = {HEAD: 1.0, TOWERS: recipe.towers.rate, SAM: recipe.towers.sam_rate}
        self._is_known = torch.zeros(len(sources.sources), len(sources.names), dtype=torch.bool)
        for index, source in enumerate(sources.sources):
            self._is_known[index, list(source.annotated)] = True
        self.feed = ExampleFeed(self._examples(), recipe.pictures.workers)

    def _examples(self) -> Examples[LabelledImage]:
        seed = self._training.seed
        sizes = [len(source.pictures) for source in self._sources.sources]
        weights = source_weights(self._pictures.sources, self._sources)
        read_crop = ReadCrop(self._pictures.augmentation, self._network.config.image_size)
        return Examples(self._sources, Sampler(sizes, weights, seed), read_crop, seed=seed)

    def begin(self) -> PicturesLoss:
        """The loss, with the class names in the network's template."""
        before, after = self._network.config.template.split("{}")
        tokens = self._tokenize([f"{before}{name}{after}" for name in self._sources.names])
        names = NameEmbeddings(self._network, tokens)
        return PicturesLoss(self._network, names, self._pictures, self._training.evidence_weight)

    def set_mode(self) -> None:
        """Everything is in training mode; neither towers nor blocks have dropout."""
        self._network.train()

    def batches(self, start: int, share: Share) -> Batches:
        """For each step the passes that a process's part of the batch is split into."""
        mine = share.of(self.schedule.batch_size)
        for examples in self.feed.batches(share.numbers(self.schedule, start)):
            yield [
                Microbatch(place, self._batch(group, share.device))
                for place, group in self._passes(examples, mine.start)
            ]

    def _passes(
        self, examples: list[Example[LabelledImage]], first: int
    ) -> Iterator[tuple[int, list[Example[LabelledImage]]]]:
        """What goes through the network at once: pictures with names of their own go alone."""
        num_passes = min(self._training.accumulation, len(examples))
        if self._pictures.names_per_picture:
            num_passes = len(examples)
        for rows in np.array_split(np.arange(len(examples)), num_passes):
            yield first + int(rows[0]), [examples[row] for row in rows]

    def _batch(self, examples: list[Example[LabelledImage]], device: torch.device) -> LabelledBatch:
        target = torch.stack([one.view.target for one in examples])
        num_names = len(self._sources.names)
        row = np.arange(num_names)
        if most_names := self._pictures.names_per_picture:
            row = self._names_of(examples[0], most_names)
            target = target_of_names(target, row, num_names)
        is_known = self._is_known[[one.place.source for one in examples]][:, row]
        image = torch.stack([one.view.image for one in examples])
        return LabelledBatch(
            image=image.to(device, non_blocking=True),
            target=target.to(device, non_blocking=True),
            row=torch.from_numpy(row).to(device),
            is_known=is_known.to(device),
            share=1 / self.schedule.batch_size,
        )

    def _names_of(self, example: Example[LabelledImage], most_names: int) -> Int[np.ndarray, " N"]:
        random = chance(self._training.seed, Purpose.NAMES, example.number)
        annotated = self._sources.sources[example.place.source].annotated
        return some_names(names_in(example.view.target), annotated, most_names, random)
