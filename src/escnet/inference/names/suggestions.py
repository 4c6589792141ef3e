"""Other words for labels, judged on pictures without any truth: by what most words agree on.

Each label's queries and the words near them give a map each. Where their mean wins against the
other labels is what they agree on. A word that covers that better than the label's own query says
what the label is meant to be in a way that the model understands better.

Sizes: N queries and words, K words, D the width of the joint space, h x w the grid of the logits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from escnet.class_lists.clean_name import comparable
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.names.contrast import everyday_names
from escnet.inference.names.glued_words import WORDS_FILE, read_words
from escnet.inference.names.unit_vectors import unit_vectors
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary
from escnet.weights.catalog import require_local

_MOST_WORDS = 4  # for each label
_LEAST_GAIN = 0.05  # of agreement, for a word to be worth a line
_USELESS = 0.1  # agreement of a query that can go, where another of its label has the usual one
_USUAL = 0.4
_LEAST_COVER = 0.002  # of all places: of less nothing can be told
_SHORTEST_WORD = 3


class Suggestion(NamedTuple):
    """Something to try.

    Attributes:
        label: Whose queries.
        kind: "add" or "leave out".
        query: The word.
        agreement: Of the word's places with those that all words of the label agree on, from 0 to
            1.
        own: The same for the best of the label's own queries.
    """

    label: str
    kind: str
    query: str
    agreement: float
    own: float

    @property
    def message(self) -> str:
        """One line with what to do."""
        numbers = f"{self.agreement:.2f} against {self.own:.2f}"
        if self.kind == "add":
            return (
                f"{self.label}: add the query {self.query!r}, which covers what its words agree on "
                f"better than its own queries do ({numbers})"
            )
        return (
            f"{self.label}: leave out the query {self.query!r}, which covers little of what the "
            f"others agree on ({numbers})"
        )


class Synonyms:
    """Words near the labels, tried on one picture after the other.

    Args:
        segmenter: The model.
        vocabulary: The names.
    """

    def __init__(self, segmenter: Segmenter, vocabulary: Vocabulary) -> None:
        asked = segmenter.asked(vocabulary)
        named = _named(vocabulary)
        words = [word for word in known_words() if comparable(word) not in named]
        embedding = asked.embedding[:0]
        if words:
            embedding = segmenter.encode_text(
                vocabulary.templated(segmenter.method.template, words)
            )
        num_labels = len(vocabulary)
        near = near_words(asked.embedding, asked.owner, embedding, num_labels)
        rows = [row for own in near.values() for row in own]
        self._segmenter, self._vocabulary = segmenter, vocabulary
        self._embedding = np.concatenate([asked.embedding, embedding[rows]])
        self._owner = np.array([*asked.owner, *(k for k, own in near.items() for _ in own)])
        self._texts = [*asked.texts, *(words[row] for row in rows)]
        self._num_own = len(asked.owner)
        self._both = np.zeros(len(self._owner))
        self._either = np.zeros(len(self._owner))
        self._cover = np.zeros(len(self._owner))
        self._places = 0

    def add(self, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
        """Try all words on a picture."""
        method = self._segmenter.method
        logits, kept = method.logits([self._segmenter.encoded(pixels)], self._embedding)[0]
        owner = self._owner[kept]
        is_own = np.array(kept) < self._num_own
        chances = sigmoid(logits)
        self._places += chances[0].size
        for label in range(len(self._vocabulary)):
            mine = np.flatnonzero(owner == label)
            others = np.flatnonzero((owner != label) & is_own)
            if not mine.size:
                continue
            rival = chances[others].max(axis=0) if others.size else np.full_like(chances[0], 0.5)
            agreed = chances[mine].mean(axis=0) > rival
            for row in mine.tolist():
                self._count(kept[row], chances[row] > rival, agreed)

    def suggestions(self) -> list[Suggestion]:
        """What to try, the largest gain first."""
        agreement = self._both / np.maximum(self._either, 1)
        found = []
        for label, name in enumerate(self._vocabulary.labels):
            mine = np.flatnonzero(self._owner == label)
            own, words = mine[mine < self._num_own], mine[mine >= self._num_own]
            if not own.size or self._cover[own[0]] < _LEAST_COVER * self._places:
                continue
            best = float(agreement[own].max())
            found += [
                Suggestion(name, "add", self._texts[row], float(agreement[row]), best)
                for row in words.tolist()
                if agreement[row] >= best + _LEAST_GAIN
            ]
            found += [
                Suggestion(name, "leave out", self._texts[row], float(agreement[row]), best)
                for row in own.tolist()
                if best >= _USUAL and agreement[row] < _USELESS
            ]
        return sorted(found, key=lambda one: one.own - one.agreement)

    def _count(
        self, row: int, covered: Bool[np.ndarray, "h w"], agreed: Bool[np.ndarray, "h w"]
    ) -> None:
        self._both[row] += (covered & agreed).sum()
        self._either[row] += (covered | agreed).sum()
        self._cover[row] += agreed.sum()


def known_words() -> list[str]:
    """Words that people use for things in pictures: the built-in model's, and everyday names."""
    words = read_words(Path(require_local("mini")) / WORDS_FILE) or frozenset()
    return sorted({*(w for w in words if len(w) >= _SHORTEST_WORD), *everyday_names()})


def near_words(
    asked: Float32[np.ndarray, "N D"],
    owner: Sequence[int],
    words: Float32[np.ndarray, "K D"],
    num_labels: int,
) -> Mapping[int, list[int]]:
    """For each label the words nearest to it, of those that are nearer to no other.

    Args:
        asked: Embeddings of what is asked, of any length.
        owner: The label of each.
        words: Embeddings of words.
        num_labels: Labels; a higher owner is no label, and its words are left to it.
    """
    asked, words = unit_vectors(asked), unit_vectors(words)
    owners = np.array(owner)
    cosine = words @ asked.T  # (K, N)
    nearest = owners[cosine.argmax(axis=1)]  # (K,)
    near = {}
    for label in range(num_labels):
        rows = np.flatnonzero(nearest == label)
        to_label = cosine[rows][:, owners == label].max(axis=1)
        near[label] = rows[np.argsort(-to_label, kind="stable")][:_MOST_WORDS].tolist()
    return near


def _named(vocabulary: Vocabulary) -> set[str]:
    groups = (name for path in vocabulary.paths for name in path)
    return {comparable(name) for name in (*groups, *vocabulary.queries, *vocabulary.contrast)}
