"""What all stages of the built-in model's training are fed with.

Sizes: N class names, M texts, V width of the sentence vectors, P pictures of a source.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from escnet.errors import ConfigError
from escnet.mini.training.captions import CaptionedPictures
from escnet.mini.training.recipe import CaptionsSection
from escnet.mini.training.texts import NameTexts
from escnet.mini.training.views import PartView
from escnet.training.examples import ExampleFeed, Examples
from escnet.training.sampler import Sampler
from escnet.training.sources import Source, Sources

ReadPartView = Callable[[Source, int, np.random.Generator], PartView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """Pictures with texts beside the labelled ones, and the recipe's settings of them."""

    pictures: CaptionedPictures
    section: CaptionsSection


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniData:
    """Pictures, and what is said of them.

    Attributes:
        sources: The labelled pictures.
        names: What their class names are called.
        sentences: The sentence vector of every text of `names`.
        captions: Pictures with texts, if there are any.
        cache: Where what frozen networks say of pictures is kept.
        workers: Processes that read pictures.
    """

    sources: Sources
    names: NameTexts
    sentences: Float[Tensor, "M V"]
    captions: Captions | None
    cache: Path
    workers: int

    def feed(
        self,
        read_view: ReadPartView,
        *,
        source_weights: Mapping[str, float],
        rarity: float,
        seed: int,
    ) -> ExampleFeed[PartView]:
        """A stage's series of labelled pictures.

        Args:
            read_view: What is seen of one.
            source_weights: As in a recipe, as is `rarity`.
            rarity: Draws pictures with rare names more often.
            seed: Of the stage.

        Raises:
            ConfigError: If a weight is of a source that there is not, or no picture is ever drawn.
        """
        weights = self.weights_of(source_weights)
        sizes = [len(source.pictures) for source in self.sources.sources]
        worth = [_worth_of(source, rarity) for source in self.sources.sources] if rarity else None
        sampler = Sampler(sizes, weights, seed, worth)
        return ExampleFeed(Examples(self.sources, sampler, read_view, seed=seed), self.workers)

    def weights_of(self, source_weights: Mapping[str, float]) -> list[float]:
        """How large a share of the pictures each source has.

        Args:
            source_weights: How often a picture of a source is drawn, 1 where it is not named.

        Raises:
            ConfigError: If a source is named that there is not, or none is drawn from.
        """
        check_sources("source_weights", source_weights, self.sources)
        weights = [
            source_weights.get(source.name, 1.0) * len(source.pictures)
            for source in self.sources.sources
        ]
        if not any(weights):
            raise ConfigError("source_weights are all 0: give one source a positive weight")
        return weights


def check_sources(setting: str, names: Iterable[str], known: Sources) -> None:
    """Refuse names of sources that there are not.

    Args:
        setting: Where the recipe has them.
        names: Of sources.
        known: Those that there are.

    Raises:
        ConfigError: If one is not there.
    """
    sources = sorted({source.name for source in known.sources})
    if unknown := sorted(set(names) - set(sources)):
        raise ConfigError(f"{setting}: no source {unknown[0]!r}: choose from {', '.join(sources)}")


def _worth_of(source: Source, rarity: float) -> Float[np.ndarray, " P"]:
    """How often each picture of a source is drawn: the rarer its names, the more often."""
    of_name = source.presence.sum(axis=0).clip(min=1).astype(float) ** -rarity
    worth = source.presence @ of_name
    worth[worth == 0] = of_name.min()  # a picture that shows none of the names
    return worth / worth.mean()
