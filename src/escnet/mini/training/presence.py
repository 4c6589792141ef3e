"""The stage that learns which names a whole picture shows, behind the network.

What a label map shows is present, what its source annotates and it does not show is absent; so it
is with the class names that captions say, and with any other words that they say. The rest of the
network stays as it is, so every picture is summed up once.

Sizes: P pictures, S channels of a summary, M texts, D joint space, N class names, Q pictures with
captions, W words, B pictures of a microbatch.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from escnet.data.layout import class_names, synonyms_in
from escnet.errors import ConfigError
from escnet.files import make_folder, replace_file
from escnet.inference.methods.tokens import Tokenize
from escnet.mini.network import Mini
from escnet.mini.presence import Presence
from escnet.mini.training.captions import CaptionedPictures, names_said
from escnet.mini.training.data import MiniData
from escnet.mini.training.features import features_key, whole_features
from escnet.mini.training.parameters import decay_of
from escnet.mini.training.recipe import PresenceSection
from escnet.mini.training.text_space import with_noise
from escnet.mini.training.texts import sentence_vectors
from escnet.training.broken_files import BrokenFiles
from escnet.training.processes import Share
from escnet.training.sampler import Sampler
from escnet.training.sources import Sources
from escnet.training.stage import Batches, Microbatch, Stage, groups_by_kind
from escnet.weights.tensor_file import tensors_hash

_DROPOUT = 0.7  # of a summary
_NOISE = 0.5  # length of what blurs a text embedding of length 1, for words never met
_WORDS_WEIGHT = 0.3  # of the loss of words beside that of class names
_FEWEST_PICTURES = 2  # that say a word
_NEAR = 0.5  # cosine from which two words may mean the same thing
_LISTS = ("ade847", "pc459", "coco171")  # whose names captions are searched for
_AT_ONCE = 8  # pictures of a microbatch
_TEXTS, _WORDS = 3, 7  # kinds of chance, beside those of the sampler and of the examples
_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentNames:
    """What pictures are known to show.

    Attributes:
        present: Whether a picture shows the name, by its label map or its captions.
        is_known: Whether it does, or somebody looked for the name there.
    """

    present: Bool[np.ndarray, "P N"]
    is_known: Bool[np.ndarray, "P N"]

    def and_then(self, others: "PresentNames") -> "PresentNames":
        """The same of further pictures behind these."""
        return PresentNames(
            present=np.concatenate([self.present, others.present]),
            is_known=np.concatenate([self.is_known, others.is_known]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceBatch:
    """Some pictures of a step, and some of those with captions.

    Attributes:
        row: Of the pictures among all.
        text: Of the texts that stand for the class names.
        said: Of further pictures, which have captions, among these; may be empty.
        share: How much of the step's loss a picture is.
    """

    row: Int[Tensor, " B"]
    text: Int[Tensor, " N"]
    said: Int[Tensor, " _"]
    share: float


def names_in_masks(sources: Sources) -> PresentNames:
    """What the label maps say of whole pictures."""
    present = np.zeros((sources.num_pictures, len(sources.names)), bool)
    is_known = np.zeros_like(present)
    first = 0
    for source in sources.sources:
        rows = slice(first, first + len(source.pictures))
        present[rows, : source.presence.shape[1]] = source.presence
        is_known[rows, list(source.annotated)] = True
        first = rows.stop
    return PresentNames(present=present, is_known=is_known)


def names_in_captions(pictures: CaptionedPictures, num_names: int) -> PresentNames:
    """What captions say of whole pictures: a name that they do not say counts as absent.

    Args:
        pictures: With captions.
        num_names: N.
    """
    present = _table_of(pictures.said, num_names)
    is_known = np.zeros_like(present)
    is_known[:, list(pictures.names)] = True
    return PresentNames(present=present, is_known=is_known)


def words_in_captions(
    pictures: CaptionedPictures, words: Sequence[str], embedding: Float[Tensor, "_ D"]
) -> tuple[PresentNames, Float[Tensor, "W D"]]:
    """Which of some words captions say; what is near a word that they say is not known.

    Args:
        pictures: With captions.
        words: Words to look for; of those only W are said often enough.
        embedding: Their text embeddings.
    """
    said = names_said(pictures.texts, {index: [word] for index, word in enumerate(words)})
    present = _table_of(said, len(words))
    kept = present.sum(axis=0) >= _FEWEST_PICTURES
    present, embedding = present[:, kept], embedding[torch.from_numpy(kept)]
    unit = F.normalize(embedding, dim=1)
    is_near = (unit @ unit.T > _NEAR).numpy()
    is_doubtful = present @ is_near  # (Q, W)
    return PresentNames(present=present, is_known=present | ~is_doubtful), embedding


def listed_words() -> list[str]:
    """The names of the benchmarks' lists, each in one wording."""
    names = (name for listed in _LISTS for name in class_names(listed))
    parts = (part.removesuffix("-other") for name in names for part in synonyms_in(name))
    return sorted({part.replace("-", " ").lower() for part in parts})


def _table_of(said: Sequence[Collection[int]], num_names: int) -> Bool[np.ndarray, "Q _"]:
    """Of each picture the names that its captions say, as a row."""
    present = np.zeros((len(said), num_names), bool)
    for row, own in enumerate(said):
        present[row, list(own)] = True
    return present


class PresenceStage(Stage):
    """The network's `presence`, which starts anew.

    Args:
        network: With a presence.
        data: What it is trained on.
        section: The recipe's settings of the stage.
        tokenize: Of the network's text tower.
        seed: Of the stage.

    Raises:
        ConfigError: If the network has no presence.
    """

    name = "presence"

    def __init__(
        self,
        network: Mini,
        data: MiniData,
        section: PresenceSection,
        tokenize: Tokenize,
        *,
        seed: int,
    ) -> None:
        if network.presence is None:
            raise ConfigError(
                "a stage trains the presence, which is off: set model.settings.presence = true"
            )
        self.schedule = self._section = section
        self.rates = {"presence": 1.0}
        self.groups = groups_by_kind(
            network,
            lambda name: "presence" if name.startswith("presence.") else None,
            decay_of(section.weight_decay),
        )
        self._network, self._data, self._tokenize, self._seed = network, data, tokenize, seed

    def begin(self) -> "PresenceLoss":
        """The loss; all pictures are summed up, and the presence begins with their statistics."""
        network, data = self._network.eval(), self._data
        text = network.text
        device = text.to_joint.weight.device
        paths = [one.image_path for source in data.sources.sources for one in source.pictures]
        known, words, word_embedding = names_in_masks(data.sources), None, None
        self._num_said = 0
        with torch.no_grad():
            embedding = text.to_joint(data.sentences.to(device)).cpu()
            if data.captions is not None:
                pictures = data.captions.pictures
                self._num_said = len(pictures.paths)
                paths += pictures.paths
                known = known.and_then(names_in_captions(pictures, len(data.sources.names)))
                listed = listed_words()
                vectors = sentence_vectors(network, self._tokenize, listed)
                words, word_embedding = words_in_captions(
                    pictures, listed, text.to_joint(vectors).cpu()
                )
        self._num_pictures = len(paths)
        summary = image_summaries(network, paths, data.cache / "summaries")
        presence = cast("Presence", network.presence)
        _start_anew(presence, summary)
        return PresenceLoss(presence, summary, known, embedding, words, word_embedding)

    def set_mode(self) -> None:
        """Its norm keeps the statistics of all pictures."""
        self._network.eval()

    def batches(self, start: int, share: Share) -> Batches:
        """A few pictures at once, each with the texts that chance gives the names in the step."""
        size = self._section.batch_size
        sampler = Sampler([self._num_pictures], [1.0], self._seed)
        with_words = Sampler([max(1, self._num_said)], [1.0], self._seed + _WORDS)
        for step in range(start, self._section.steps):
            random = np.random.default_rng([self._seed, _TEXTS, step])
            text = self._data.names.draw(range(len(self._data.sources.names)), random)
            mine = share.of(size)
            microbatches = []
            for first in range(mine.start, mine.stop, _AT_ONCE):
                numbers = [
                    step * size + place for place in range(first, min(first + _AT_ONCE, mine.stop))
                ]
                said = [with_words.place_of(one).row for one in numbers] if self._num_said else []
                batch = PresenceBatch(
                    row=torch.tensor([sampler.place_of(one).row for one in numbers]),
                    text=torch.tensor(text),
                    said=torch.tensor(said, dtype=torch.int64),
                    share=1 / size,
                )
                microbatches.append(Microbatch(first, batch))
            yield microbatches


class PresenceLoss(nn.Module):
    """The binary cross-entropy of the names that are known, summed over them.

    Much of a summary is left out, which counts as its mean then, and the text embeddings are
    disturbed: words never met lie near those that were.

    Args:
        presence: What is trained.
        summary: Of every picture; those with captions come last.
        known: What the pictures show of the class names.
        embedding: Text embeddings of all texts that may stand for a name.
        words: Which words the captions say, if there are any.
        word_embedding: Their text embeddings.
    """

    def __init__(
        self,
        presence: Presence,
        summary: Float[Tensor, "P S"],
        known: PresentNames,
        embedding: Float[Tensor, "M D"],
        words: PresentNames | None = None,
        word_embedding: Float[Tensor, "W D"] | None = None,
    ) -> None:
        super().__init__()
        self.presence = presence
        self._summary, self._mean = summary, summary.mean(dim=0)
        self._known, self._embedding = known, embedding
        self._words, self._word_embedding = words, word_embedding

    def forward(self, batch: PresenceBatch) -> Float[Tensor, ""]:
        """The part of the step's loss that these pictures have."""
        row = batch.row.cpu()
        loss = self._loss(self._summary[row], self._embedding[batch.text.cpu()], self._known, row)
        if self._words is not None and self._word_embedding is not None and len(batch.said):
            said = batch.said.cpu()
            summary = self._summary[len(self._summary) - len(self._words.present) + said]
            of_words = self._loss(summary, self._word_embedding, self._words, said)
            loss = loss + _WORDS_WEIGHT * of_words
        return loss * batch.share

    def _loss(
        self,
        summary: Float[Tensor, "B S"],
        embedding: Float[Tensor, "_ D"],
        known: PresentNames,
        row: Int[Tensor, " B"],
    ) -> Float[Tensor, ""]:
        device = self.presence.scale.device
        mean = self._mean.to(device)
        seen = mean + F.dropout(summary.to(device) - mean, _DROPOUT)
        with torch.autocast(device.type, enabled=False):
            logits = self.presence(seen, with_noise(embedding.to(device), _NOISE)[None])
        return F.binary_cross_entropy_with_logits(
            logits,
            torch.from_numpy(known.present[row.numpy()]).to(logits),
            weight=torch.from_numpy(known.is_known[row.numpy()]).to(logits),
            reduction="sum",
        )


def _start_anew(presence: Presence, summary: Float[Tensor, "P S"]) -> None:
    """Random weights, and the statistics of the pictures."""
    presence.begin_fit()
    with torch.no_grad():
        norm = presence.norm
        cast("Tensor", norm.running_mean).copy_(summary.mean(dim=0))
        cast("Tensor", norm.running_var).copy_(summary.var(dim=0, correction=0))


def image_summaries(network: Mini, paths: Sequence[Path], folder: Path) -> Float[Tensor, "P S"]:
    """What the tower makes of every whole picture, computed unless the folder holds it already.

    Args:
        network: Of the built-in model's kind.
        paths: The pictures; of one that cannot be read the summary means nothing.
        folder: Made if it does not exist.

    Raises:
        DatasetError: If more than one picture in a hundred is broken.
        OutputError: If the folder cannot be written.
    """
    vision = network.vision
    side = network.config.image_size
    nets = features_key(vision, paths, image_size=side, mirror=False)
    key = sha256(f"{nets} {tensors_hash(vision.head.state_dict())}".encode()).hexdigest()
    path = make_folder(folder) / f"{key[:_KEY_LENGTH]}.npy"
    if not path.exists():
        broken = BrokenFiles(len(paths))
        parts = []
        for maps in whole_features(vision, paths, side, broken=broken):
            with torch.inference_mode(), torch.autocast(maps.vit.device.type, torch.bfloat16):
                parts.append(vision.project(maps).summary.float().cpu())
        content = BytesIO()
        np.save(content, torch.cat(parts).numpy())
        replace_file(path, content.getvalue())
    return torch.from_numpy(np.load(path))
