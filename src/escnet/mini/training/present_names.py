"""Which class names whole pictures are known to show, by their label maps or their captions.

What a label map shows is present, what its source annotates and it does not show is absent; so it
is with the class names that captions say, and with any other words that they say.

Sizes: P pictures, N class names, Q pictures with captions, W words, D joint space.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from escnet.data.layout import class_names, synonyms_in
from escnet.mini.training.captions import CaptionedPictures, names_in_texts
from escnet.training.sources import Sources

_FEWEST_PICTURES = 2  # that say a word
_NEAR = 0.5  # cosine from which two words may mean the same thing
_LISTS = ("ade847", "pc459", "coco171")  # whose names captions are searched for


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


def names_in_masks(sources: Sources) -> PresentNames:
    """What the label maps say of whole pictures."""
    present = np.zeros((sources.num_pictures, len(sources.names)), bool)
    is_known = np.zeros_like(present)
    first = 0
    for source in sources.sources:
        rows = slice(first, first + len(source.pictures))
        present[rows, : source.presence.shape[1]] = source.presence
        if source.is_complete:
            is_known[rows, list(source.annotated)] = True
        first = rows.stop
    return PresentNames(present=present, is_known=is_known | present)


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
    said = names_in_texts(pictures.texts, {index: [word] for index, word in enumerate(words)})
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
