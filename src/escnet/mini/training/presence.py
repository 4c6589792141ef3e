"""The stage that learns which names a whole picture shows, behind the network.

The rest of the network stays as it is, so every picture is summed up once (`present_names.py` has
what is known of it).

Sizes: P pictures, S channels of a summary, M texts, D joint space, N class names, W words,
B pictures of a microbatch.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.errors import ConfigError
from escnet.inference.methods.tokens import Tokenize
from escnet.mini.network import Mini
from escnet.mini.presence import Presence
from escnet.mini.training.data import MiniData
from escnet.mini.training.features import compute_summaries
from escnet.mini.training.parameters import decay_of
from escnet.mini.training.present_names import (
    PresentNames,
    listed_words,
    names_in_captions,
    names_in_masks,
    words_in_captions,
)
from escnet.mini.training.recipe import PresenceSection
from escnet.mini.training.text_space import with_noise
from escnet.mini.training.texts import sentence_vectors
from escnet.training.chance import Purpose, chance
from escnet.training.processes import Share
from escnet.training.sampler import Sampler
from escnet.training.stage import Batches, Microbatch, Stage, groups_by_kind

_DROPOUT = 0.7  # of a summary
_NOISE = 0.5  # length of what blurs a text embedding of length 1, for words never met
_WORDS_WEIGHT = 0.3  # of the loss of words beside that of class names
_AT_ONCE = 8  # pictures of a microbatch
_WORDS = 7  # between the seeds of the two samplers


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


class PresenceStage(Stage):
    """The network's `presence`.

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
        self.schedule, self._anew = section, section.anew
        self.rates = {"presence": 1.0}
        self.groups = groups_by_kind(
            network,
            lambda name: "presence" if name.startswith("presence.") else None,
            decay_of(section.weight_decay),
        )
        self._network, self._data, self._tokenize, self._seed = network, data, tokenize, seed

    def begin(self) -> "PresenceLoss":
        """The loss; all pictures are summed up, and what starts anew takes their statistics."""
        network, data = self._network.eval(), self._data
        text = network.text
        device = text.to_joint.weight.device
        paths = data.paths
        known, words, word_embedding = names_in_masks(data.sources), None, None
        self._num_said = 0
        with torch.no_grad():
            embedding = text.to_joint(data.sentences.to(device)).cpu()
            if data.captions is not None:
                pictures = data.captions
                self._num_said = len(pictures.paths)
                paths += pictures.paths
                known = known.and_then(names_in_captions(pictures, len(data.sources.names)))
                listed = listed_words()
                vectors = sentence_vectors(network, self._tokenize, listed)
                words, word_embedding = words_in_captions(
                    pictures, listed, text.to_joint(vectors).cpu()
                )
        self._num_pictures = len(paths)
        summary = compute_summaries(network, paths, data.cache / "summaries")
        presence = cast("Presence", network.presence)
        if self._anew or not presence.is_begun:
            _start_anew(presence, summary)
        return PresenceLoss(presence, summary, known, embedding, words, word_embedding)

    def set_mode(self) -> None:
        """Its norm keeps the statistics of all pictures."""
        self._network.eval()

    def batches(self, start: int, share: Share) -> Batches:
        """A few pictures at once, each with the texts that chance gives the names in the step."""
        size = self.schedule.batch_size
        places = share.of(size)
        sampler = Sampler([self._num_pictures], [1.0], self._seed)
        with_words = Sampler([max(1, self._num_said)], [1.0], self._seed + _WORDS)
        for step, numbers in enumerate(share.numbers(self.schedule, start), start):
            random = chance(self._seed, Purpose.NAMES, step)
            text = self._data.names.draw(range(len(self._data.sources.names)), random)
            microbatches = []
            for first in range(0, len(numbers), _AT_ONCE):
                own = numbers[first : first + _AT_ONCE]
                said = [with_words.place_of(one).row for one in own] if self._num_said else []
                batch = PresenceBatch(
                    row=torch.tensor([sampler.place_of(one).row for one in own]),
                    text=torch.tensor(text),
                    said=torch.tensor(said, dtype=torch.int64),
                    share=1 / size,
                )
                microbatches.append(Microbatch(places[first], batch))
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
