"""Pictures whose texts speak of some class names: language about whole pictures, no label maps.

A text that says "dog" makes the picture a positive of that name, somewhere; names that no text of
the picture says are taken for absent. So the words that label maps never show get pixels of their
own (docs/paper-notes.md has the measurement).

Sizes: n class names of a picture, h x w patches.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError, DatasetError
from escnet.training.config import CaptionsSection
from escnet.training.tagged import TaggedPictures

_PLURAL = r"(?:e?s)?"
_LEAST_SHARE = 1e-6  # keeps the logarithm finite where a name is nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """A picture with the class names of this step.

    Attributes:
        row: Of the picture among the captioned ones.
        item: The picture.
        names: Indices of class names: those that its texts say, then others.
        num_said: How many of them the texts say.
    """

    row: int
    item: LabelledPicture
    names: Int[np.ndarray, " n"]
    num_said: int


class CaptionedPictures:
    """Draws pictures by the class names that their texts say.

    Args:
        pictures: With their texts.
        wordings: For each class name the texts that may stand for it.
        names: Indices of the class names that are looked for, and that count as absent from a
            picture whose texts do not say them.

    Attributes:
        pictures: Those of which some text says one of the names.
        items: The same as items of a folder.
        said: Of each the names that its texts say.
        names: Those that were looked for, in order.

    Raises:
        DatasetError: If no text says any of the names.
    """

    def __init__(
        self, pictures: TaggedPictures, wordings: Sequence[Sequence[str]], names: Sequence[int]
    ) -> None:
        said = names_said_of(pictures, {index: wordings[index] for index in names})
        self.names = np.array(sorted(names), np.int64)
        self.said = [sorted(found) for found in said if found]
        if not self.said:
            raise DatasetError(
                f"none of the {len(pictures.paths)} pictures with texts says one of the "
                f"{len(names)} class names: leave data.captions out, or choose another "
                "data.captions.names_of"
            )
        self.pictures = replace(
            pictures,
            paths=tuple(compress(pictures.paths, said)),
            rows=tuple(compress(pictures.rows, said)),
        )
        self.items = [
            LabelledPicture(stem=path.stem, image_path=path, label_path=path, source="captions")
            for path in self.pictures.paths
        ]
        self._probability = _probability(self.said)

    @classmethod
    def of(
        cls,
        dataset: FolderDataset,
        section: CaptionsSection,
        wordings: Sequence[Sequence[int]],
        texts: Sequence[str],
    ) -> "CaptionedPictures":
        """Those that a recipe names.

        Args:
            dataset: The labelled pictures beside them.
            section: Of the recipe.
            wordings: For each of the dataset's class names its rows in `texts`.
            texts: All texts that may stand for a class name.

        Raises:
            ConfigError: If the recipe names a source that the dataset does not have.
            DatasetError: If there are no such pictures, or no text says any of the names.
        """
        if section.names_of not in dataset.sources:
            raise ConfigError(
                f"data.captions.names_of is {section.names_of!r}: choose from "
                f"{', '.join(dataset.sources)}"
            )
        return cls(
            TaggedPictures.read(section.root),
            [[texts[row] for row in rows] for rows in wordings],
            dataset.source(section.names_of).annotated,
        )

    def draw(self, random: np.random.Generator, num_others: int) -> Captioned:
        """A random picture, those with rare names more often.

        Args:
            random: Where the chance comes from.
            num_others: Names that its texts do not say.
        """
        row = int(random.choice(len(self.items), p=self._probability))
        said = np.array(self.said[row], np.int64)
        others = np.setdiff1d(self.names, said)
        drawn = random.choice(others, min(num_others, len(others)), replace=False)
        names = np.concatenate([said, drawn])
        return Captioned(row=row, item=self.items[row], names=names, num_said=len(said))


def names_said_of(
    pictures: TaggedPictures, wordings: Mapping[int, Sequence[str]]
) -> list[frozenset[int]]:
    """For each picture the class names that its texts say.

    Args:
        pictures: With their texts.
        wordings: For each class name the texts that may stand for it.
    """
    of_text = names_said(pictures.texts, wordings)
    return [frozenset().union(*(of_text[row] for row in rows)) for rows in pictures.rows]


def names_said(texts: Sequence[str], wordings: Mapping[int, Sequence[str]]) -> list[frozenset[int]]:
    """For each text the class names that it says, as whole words, in the plural as well.

    The longest name at a place is the one that is meant there: a "hot dog" is no dog.

    Args:
        texts: Captions or labels.
        wordings: For each class name the texts that may stand for it.
    """
    meant = {word.lower(): index for index, words in wordings.items() for word in words}
    longest_first = sorted(meant, key=len, reverse=True)
    any_of_them = "|".join(re.escape(word) for word in longest_first)
    pattern = re.compile(rf"\b({any_of_them}){_PLURAL}\b")
    return [
        frozenset(meant[found.group(1)] for found in pattern.finditer(text.lower()))
        for text in texts
    ]


def caption_loss(
    logits: Float[Tensor, "n h w"], num_said: int, peak_share: float
) -> Float[Tensor, ""]:
    """Names that are said are somewhere, and win there; the others are nowhere.

    Args:
        logits: One map for each name, those that are said first.
        num_said: How many are.
        peak_share: The share of the patches, the highest of each map, whose mean stands for it.

    Returns:
        The binary cross-entropy of each map's peak, said and others weighing the same, plus minus
        the logarithm of what the said names have, at their peak, of a softmax over the names.
    """
    peak = _peak(logits, peak_share)  # (n,)
    truth = torch.zeros_like(peak)
    truth[:num_said] = 1.0
    binary = F.binary_cross_entropy_with_logits(peak, truth, reduction="none")
    loss = binary[:num_said].mean()
    if num_said < len(logits):
        loss = loss + binary[num_said:].mean()
    share = _peak(logits.softmax(dim=0)[:num_said], peak_share)
    return loss - torch.log(share + _LEAST_SHARE).mean()


def _peak(maps: Float[Tensor, "n h w"], share: float) -> Float[Tensor, " n"]:
    flat = maps.flatten(1)
    return flat.topk(max(1, round(share * flat.shape[1])), dim=1).values.mean(dim=1)


def _probability(said: Sequence[Sequence[int]]) -> Float[np.ndarray, " P"]:
    """Of each picture: a name weighs the less, the more pictures say it."""
    count: dict[int, int] = {}
    for names in said:
        for name in names:
            count[name] = count.get(name, 0) + 1
    weight = np.array([sum(count[name] ** -0.5 for name in names) for names in said])
    return weight / weight.sum()
