"""Pictures whose texts speak of some class names: language about whole pictures, no label maps.

A text that says "dog" makes the picture a positive of that name, somewhere; names that no text of
the picture says are taken for absent. So the words that label maps never show get pixels of their
own (docs/paper-notes.md has the measurement).

Sizes: n class names of a picture, P pictures, h x w patches.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import compress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from escnet.data.picture_formats import IMAGE_SUFFIXES
from escnet.errors import ConfigError, DatasetError
from escnet.files import display_path
from escnet.mini.training.recipe import CaptionsSection
from escnet.mini.training.texts import NameTexts
from escnet.small_file import SmallFile
from escnet.training.sampler import Sampler
from escnet.training.sources import Sources

_TEXTS_FILE = SmallFile(
    noun="", error=DatasetError, cure="it holds {STEM: [text, ...]}", most_bytes=2**30
)
_PLURAL = r"(?:e?s)?"
_MOST_OTHERS = 24  # class names that a picture's texts do not say
_PEAK_SHARE = 0.05  # of a map's patches, the highest of which stand for it
_LEAST_SHARE = 1e-6  # keeps the logarithm finite where a name is nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedPictures:
    """Pictures with texts, all of which say a class name.

    Attributes:
        paths: Of the pictures.
        texts: Of each what is said of it.
        said: Of each the class names that its texts say, in order.
        names: The class names that were looked for, in order; one that a picture's texts do not say
            counts as absent from it.
    """

    paths: tuple[Path, ...]
    texts: tuple[tuple[str, ...], ...]
    said: tuple[tuple[int, ...], ...]
    names: tuple[int, ...]

    @classmethod
    def read(
        cls, section: CaptionsSection, sources: Sources, names: NameTexts
    ) -> "CaptionedPictures":
        """Those that a recipe names; none is opened.

        Args:
            section: Of the recipe.
            sources: The labelled pictures beside them.
            names: What the class names are called.

        Raises:
            ConfigError: If the recipe names a source that there is not.
            DatasetError: If there are no such pictures, or no text says any of the names.
        """
        annotated = {source.name: source.annotated for source in sources.sources}
        if section.names_of not in annotated:
            raise ConfigError(
                f"data.captions.names_of is {section.names_of!r}: choose from "
                f"{', '.join(annotated)}"
            )
        table = read_texts(section.root)
        wanted = annotated[section.names_of]
        said = names_in_texts([*table.values()], names.words_of(wanted))
        if not any(said):
            raise DatasetError(
                f"none of the {len(table)} pictures with texts says one of the {len(wanted)} class "
                "names: leave data.captions out, or choose another data.captions.names_of"
            )
        return cls(
            paths=tuple(compress(table, said)),
            texts=tuple(compress(table.values(), said)),
            said=tuple(tuple(sorted(one)) for one in said if one),
            names=tuple(sorted(wanted)),
        )

    def sampler(self, seed: int) -> Sampler:
        """Which picture comes when; those with rare names more often."""
        number = np.bincount(np.concatenate([np.array(one) for one in self.said]))
        worth = np.array([(number[list(one)] ** -0.5).sum() for one in self.said])
        return Sampler([len(self.paths)], [1.0], seed, worth=[worth / worth.mean()])

    def names_of(self, row: int, random: np.random.Generator) -> Int[np.ndarray, " n"]:
        """The class names of a step with a picture: those that its texts say, then some others.

        Args:
            row: Of the picture.
            random: Chooses the others.
        """
        said = np.array(self.said[row], np.int64)
        others = np.setdiff1d(np.array(self.names), said)
        drawn = random.choice(others, min(_MOST_OTHERS, len(others)), replace=False)
        return np.concatenate([said, drawn])

    def content_hash(self) -> str:
        """A hash of the pictures' names and of what their texts say."""
        digest = sha256()
        for path, texts in zip(self.paths, self.texts, strict=True):
            digest.update(f"{json.dumps([path.stem, sorted(texts)])}\n".encode())
        return digest.hexdigest()


def read_texts(root: Path) -> dict[Path, tuple[str, ...]]:
    """The pictures of a folder with images/ and texts.json, and what is said of each.

    Raises:
        DatasetError: If it has no such files, or a picture of texts.json is missing.
    """
    table = _table_of(root / "texts.json")
    files = _by_stem(root / "images")
    if missing := sorted(set(table) - set(files)):
        raise DatasetError(
            f"{display_path(root)} has texts for {missing[0]!r}, but no such picture in images/ "
            f"({len(missing)} missing): leave them out, or copy the folder again"
        )
    return {files[stem]: tuple(texts) for stem, texts in table.items()}


def names_in_texts(
    texts: Sequence[Sequence[str]], words: Mapping[int, Sequence[str]]
) -> list[frozenset[int]]:
    """For each picture the class names that its texts say, as whole words, also in the plural.

    The longest name at a place is the one that is meant there: a "hot dog" is no dog.

    Args:
        texts: Captions or labels of each picture.
        words: For each class name the texts that may stand for it.
    """
    meant = {word.lower(): index for index, own in words.items() for word in own}
    longest_first = sorted(meant, key=len, reverse=True)
    any_of_them = "|".join(re.escape(word) for word in longest_first)
    pattern = re.compile(rf"\b({any_of_them}){_PLURAL}\b")
    return [
        frozenset(meant[match.group(1)] for text in own for match in pattern.finditer(text.lower()))
        for own in texts
    ]


def caption_loss(logits: Float[Tensor, "n h w"], num_said: int) -> Float[Tensor, ""]:
    """Names that are said are somewhere, and win there; the others are nowhere.

    Args:
        logits: One map for each name, those that are said first.
        num_said: How many are.

    Returns:
        The binary cross-entropy of each map's peak, said and others weighing the same, plus minus
        the logarithm of what the said names have, at their peak, of a softmax over the names.
    """
    peak = _peak(logits)  # (n,)
    truth = torch.zeros_like(peak)
    truth[:num_said] = 1.0
    binary = F.binary_cross_entropy_with_logits(peak, truth, reduction="none")
    loss = binary[:num_said].mean()
    if num_said < len(logits):
        loss = loss + binary[num_said:].mean()
    share = _peak(logits.softmax(dim=0)[:num_said])
    return loss - torch.log(share + _LEAST_SHARE).mean()


def _peak(maps: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """The mean of each map's highest places."""
    flat = maps.flatten(1)
    return flat.topk(max(1, round(_PEAK_SHARE * flat.shape[1])), dim=1).values.mean(dim=1)


def _table_of(path: Path) -> dict[str, list[str]]:
    table = _TEXTS_FILE.object_of(path)
    if not table:
        raise DatasetError(f"{display_path(path)} holds no texts: write {{STEM: [text, ...]}}")
    for stem, texts in table.items():
        are_texts = isinstance(texts, list) and all(isinstance(t, str) and t for t in texts)
        if not are_texts or not texts:
            raise DatasetError(f"{display_path(path)} has no list of texts for {stem!r}: give one")
    return table


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{display_path(folder)} is no folder: pictures with texts lie there")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}
