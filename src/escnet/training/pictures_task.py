"""Training on pictures as they come off the disk, towers included: the paper's recipe.

Sizes: B pictures, N class names of a pass, M texts, s the network's side, c the label map's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from escnet.errors import EscnetError
from escnet.inference.methods.tokens import Tokenize
from escnet.model.escnet import EscNet, Prediction
from escnet.towers.network import Network
from escnet.training.broken_files import BrokenFiles
from escnet.training.config import TrainingSection
from escnet.training.data_config import PicturesSection, TextsSection, TowersSection
from escnet.training.dense_loss import dense_loss
from escnet.training.examples import shown_in
from escnet.training.features import weights_hash
from escnet.training.image_text import binary_loss, contrastive_loss, picture_text_score
from escnet.training.loss import NONE_OF_THEM
from escnet.training.mixture import Mixture
from escnet.training.parameters import CLIP, HEAD, SAM, Groups, pictures_groups
from escnet.training.pictures import LabelledPictures, LabelledView, PictureFeed
from escnet.training.sources import Sources, source_weights
from escnet.training.tagged import TaggedPictures
from escnet.training.task import Batches, Portion, Share
from escnet.training.vocabulary_step import VocabularyStep, names_of_picture


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledContent:
    """Some pictures with the same class names.

    Attributes:
        image: In [0, 1].
        target: For each pixel a position in `row`, or a value of `escnet.training.loss`.
        row: The names, as rows of the vocabulary.
        is_known: Whether a picture's source annotates a name.
        share: How much of the step's loss a picture is.
    """

    image: Float[Tensor, "B 3 s s"]
    target: Int[Tensor, "B c c"]
    row: Int[Tensor, " N"]
    is_known: Bool[Tensor, "B N"]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedContent:
    """Some pictures with texts.

    Attributes:
        image: In [0, 1].
        row: The step's texts, as rows of all texts.
        is_match: Which of them are true of which picture.
        share: How much of the step's loss a picture is.
    """

    image: Float[Tensor, "B 3 s s"]
    row: Int[Tensor, " M"]
    is_match: Bool[Tensor, "B M"]
    share: float


class PicturesLoss(nn.Module):
    """From pictures to a loss.

    Args:
        network: With CLIP's towers.
        vocabulary: The class names' tokens.
        texts: The tagged pictures' texts' tokens, if there are any.
        section: Which losses.
        evidence_weight: Weight of the loss on the maps that the blocks read their prompts off.
    """

    def __init__(
        self,
        network: Network,
        vocabulary: VocabularyStep,
        texts: VocabularyStep | None,
        section: PicturesSection,
        evidence_weight: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.vocabulary = vocabulary
        self.texts = texts
        self._section = section
        self._evidence_weight = evidence_weight

    def forward(self, content: LabelledContent | TaggedContent) -> Float[Tensor, ""]:
        """The part of the step's loss that these pictures have."""
        if isinstance(content, TaggedContent):
            return self._tagged(content).sum() * content.share
        return self._labelled(content).sum() * content.share

    def _labelled(self, content: LabelledContent) -> Float[Tensor, " B"]:
        text = self.vocabulary(content.row)
        prediction = self.network.segment(self.network.vision(content.image), text)
        loss = self._dense(prediction.logits, content)
        if self._evidence_weight and isinstance(prediction, Prediction):
            for evidence in prediction.evidence:
                loss = loss + self._evidence_weight * self._dense(evidence, content)
        return loss

    def _dense(
        self, logits: Float[Tensor, "B N _ _"], content: LabelledContent
    ) -> Float[Tensor, " B"]:
        return dense_loss(
            logits,
            content.target,
            content.is_known,
            kind=self._section.loss,
            unlabelled=self._section.unlabelled,
        )

    def _tagged(self, content: TaggedContent) -> Float[Tensor, " B"]:
        section = self._section.texts
        if section is None or self.texts is None:
            raise RuntimeError("pictures with texts, but no settings for them")
        text = self.texts(content.row)
        joint = self.network.vision(content.image).joint
        score = picture_text_score(joint, text, section.pooling)
        if section.loss == "contrastive":
            return contrastive_loss(section.scale * score, content.is_match)
        if not isinstance(self.network, EscNet):
            raise RuntimeError("the binary loss of texts, but no scale for it")
        return binary_loss(
            self.network.logit_scale * score + self.network.logit_shift, content.is_match
        )


class PicturesTask:
    """The paper's training; see `escnet.training.task.Task`.

    Args:
        network: With CLIP's towers.
        tokenize: Of its text tower.
        sources: The labelled pictures.
        recipe: Sections pictures, towers and training of the recipe.
        tagged: Pictures with texts, if the recipe names any.
    """

    def __init__(
        self,
        network: Network,
        tokenize: Tokenize,
        sources: Sources,
        recipe: tuple[PicturesSection, TowersSection, TrainingSection],
        tagged: TaggedPictures | None = None,
    ) -> None:
        self._pictures, self._towers, self._training = section, towers, training = recipe
        self.network = network
        self.num_steps = training.steps
        self.divides = training.batch_size
        self.groups: Groups = pictures_groups(
            network,
            towers,
            weight_decay=training.weight_decay,
            has_evidence_loss=training.evidence_weight > 0,
        )
        before, after = network.config.template.split("{}")
        names = tokenize([f"{before}{name}{after}" for name in sources.names])
        texts = None if tagged is None else VocabularyStep(network, tokenize(tagged.texts))
        self.loss = PicturesLoss(
            network, VocabularyStep(network, names), texts, section, training.evidence_weight
        )
        self._sources = sources
        self._known = torch.zeros(len(sources.sources), len(sources.names), dtype=torch.bool)
        for index, source in enumerate(sources.sources):
            self._known[index, list(source.annotated)] = True
        sizes = [len(source.pictures) for source in sources.sources]
        mixture = Mixture(sizes, source_weights(section.sources, sources), training.seed)
        series = LabelledPictures(
            sources,
            mixture,
            section.augmentation,
            image_size=network.config.image_size,
            seed=training.seed,
        )
        self.feed = PictureFeed(series, section.workers)
        self._tagged = tagged
        self._tagged_series = None if tagged is None else tagged.series(training.seed)
        self._tagged_broken = BrokenFiles(0 if tagged is None else len(tagged.paths))

    def identity(self) -> Mapping[str, Any]:
        """The network, its frozen weights, the pictures, and what is said of them."""
        trained = {name for group in self.groups.values() for name in group}
        frozen = {n: p for n, p in self.network.named_parameters() if n not in trained}
        digest = sha256()
        for source in self._sources.sources:
            for picture in source.pictures:
                digest.update(f"{picture.image_path.name}\n".encode())
        return {
            "network": self.network.config.to_dict(),
            "frozen weights": weights_hash(frozen),
            "pictures": digest.hexdigest(),
            "class names": list(self._sources.names),
            "annotated": [list(source.annotated) for source in self._sources.sources],
            "texts": None if self._tagged is None else self._tagged.content_hash(),
        }

    def phase_of(self, step: int) -> tuple[str, int, int]:
        """There is one."""
        del step
        return "pictures", 0, self.num_steps

    def begin(self, step: int) -> None:
        """Everything is in training mode; neither towers nor blocks have dropout."""
        del step
        self.network.train()

    def rate_factors(self, step: int) -> Mapping[str, float]:
        """The paper's: two hundredths for CLIP and SAM."""
        del step
        return {HEAD: 1.0, CLIP: self._towers.clip_rate, SAM: self._towers.sam_rate}

    def batches(self, start: int, share: Share) -> Batches:
        """For each step the portions with texts, then those with label maps.

        In this order because the last portion's gradients are what several processes wait for:
        it has to reach everything that is trained.
        """
        size = self._training.batch_size
        steps = range(start, self.num_steps)
        mine = share.of(size)
        views = self.feed.batches([[step * size + place for place in mine] for step in steps])
        for step, shown in zip(steps, views, strict=True):
            portions = list(self._tagged_portions(step, share))
            for place, group in self._passes(shown, mine.start):
                portions.append(Portion(place, self._content(group, share.device)))
            yield portions

    def _passes(
        self, views: list[LabelledView], first: int
    ) -> Iterator[tuple[int, list[LabelledView]]]:
        """What goes through the network at once: pictures with names of their own go alone."""
        num_passes = min(self._training.accumulation, len(views))
        if self._pictures.names_per_picture:
            num_passes = len(views)
        for rows in np.array_split(np.arange(len(views)), num_passes):
            yield first + int(rows[0]), [views[row] for row in rows]

    def _content(self, views: list[LabelledView], device: torch.device) -> LabelledContent:
        target = torch.stack([view.target for view in views])
        row = torch.arange(len(self._sources.names))
        known = self._known[[view.place[0] for view in views]]  # (B, all names)
        if most_names := self._pictures.names_per_picture:
            row = torch.from_numpy(self._names_of(views[0], most_names))
            target = positions_of(target, row, len(self._sources.names))
            known = known[:, row]
        image = torch.stack([view.image for view in views])
        return LabelledContent(
            image=image.to(device, non_blocking=True),
            target=target.to(device, non_blocking=True),
            row=row.to(device),
            is_known=known.to(device),
            share=1 / self._training.batch_size,
        )

    def _names_of(self, view: LabelledView, most_names: int) -> Int[np.ndarray, " N"]:
        return names_of_picture(
            shown_in(view.target).tolist(),
            self._sources.sources[view.place[0]].annotated,
            most_names,
            seed=self._training.seed,
            number=view.number,
        )

    def _tagged_portions(self, step: int, share: Share) -> Iterator[Portion]:
        section, tagged, series = self._pictures.texts, self._tagged, self._tagged_series
        if section is None or tagged is None or series is None:
            return
        size, seed = section.batch_size, self._training.seed
        numbers = range(step * size, (step + 1) * size)
        pictures = [series.place_of(number).row for number in numbers]
        texts = tagged.texts_of_step(pictures, section.num_texts, seed=seed, step=step)
        mine = share.of(size)
        views = dict(self._tagged_views(tagged, {numbers[n]: pictures[n] for n in mine}))
        if not views:
            return
        shown = [pictures[number - numbers[0]] for number in views]
        content = TaggedContent(
            image=torch.stack(list(views.values())).to(share.device),
            row=torch.from_numpy(texts).to(share.device),
            is_match=tagged.matches(shown, texts).to(share.device),
            share=_share_of_texts(section),
        )
        yield Portion(self.divides + mine.start, content)

    def _tagged_views(
        self, tagged: TaggedPictures, pictures: Mapping[int, int]
    ) -> Iterator[tuple[int, Float[Tensor, "3 s s"]]]:
        """The pictures by their numbers in the run; broken ones are left out."""
        side, seed = self.network.config.image_size, self._training.seed
        for number, picture in pictures.items():
            place = (0, picture)
            try:
                view = tagged.view(picture, side, seed=seed, number=number)
            except EscnetError as error:
                self._tagged_broken.count(place, {place: str(error)})
                continue
            self._tagged_broken.count(place, {})
            yield number, view


def positions_of(
    target: Int[Tensor, "B c c"], row: Int[Tensor, " N"], num_names: int
) -> Int[Tensor, "B c c"]:
    """Rows of the vocabulary as positions among some of its names; what is not among them is none.

    Args:
        target: Rows, or the negative values of `escnet.training.loss`, which stay.
        row: The names.
        num_names: Of the vocabulary.
    """
    position = torch.full((num_names,), NONE_OF_THEM)
    position[row] = torch.arange(len(row))
    return torch.where(target >= 0, position[target.clamp(min=0)], target)


def _share_of_texts(section: TextsSection) -> float:
    return section.weight / section.batch_size
