"""What all stages of the built-in model's training are fed with.

Sizes: N class names, M texts, V width of the sentence vectors, P pictures of a source.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from escnet.errors import ConfigError
from escnet.mini.network import Mini
from escnet.mini.training.captions import CaptionedPictures
from escnet.mini.training.features import FeatureStore, compute_features
from escnet.mini.training.texts import NameTexts
from escnet.mini.training.views import PartView
from escnet.mini.vision import PairedMaps
from escnet.training.chance import Purpose, chance
from escnet.training.examples import Example, ExampleFeed, Examples
from escnet.training.sampler import Sampler
from escnet.training.sources import Source, Sources
from escnet.training.targets import target_of_names

ReadPartView = Callable[[Source, int, np.random.Generator], PartView]


NetInput = Tensor | PairedMaps  # of pictures: themselves, or what the image nets make of them


class NamedTarget(NamedTuple):
    """What the pixels of a picture say of the names that it is trained on.

    Attributes:
        rows: Of the texts that stand for the names.
        target: For each place a position in `rows`, or a value of `targets.py`.
    """

    rows: list[int]
    target: Int[Tensor, "_ _"]


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
    captions: CaptionedPictures | None
    cache: Path
    workers: int

    @property
    def paths(self) -> list[Path]:
        """The labelled pictures."""
        return [one.image_path for source in self.sources.sources for one in source.pictures]

    def features(self, network: Mini, paths: Sequence[Path], *, mirror: bool) -> FeatureStore:
        """What the image nets make of some whole pictures."""
        side, folder = network.config.image_size, self.cache / "features"
        return compute_features(network.vision, paths, folder, image_size=side, mirror=mirror)

    def source_of(self, example: Example[PartView]) -> Source:
        """Where a picture comes from."""
        return self.sources.sources[example.place.source]

    def inputs_of(self, example: Example[PartView], store: FeatureStore | None) -> NetInput:
        """What the network is shown of a picture: its pixels, or what the store has of it."""
        if store is None:
            return cast("Tensor", example.view.image)
        path = self.source_of(example).pictures[example.place.row].image_path
        return store.maps(path, mirrored=example.view.part.is_mirrored)

    def named_target(
        self,
        example: Example[PartView],
        names: Int[np.ndarray, " n"],
        random: np.random.Generator,
    ) -> NamedTarget:
        """A picture with some of the class names, each in a wording that chance draws."""
        target = target_of_names(example.view.target, names, len(self.sources.names))
        return NamedTarget(self.names.draw(names.tolist(), random), target)

    def target_of_all(self, example: Example[PartView], seed: int) -> NamedTarget:
        """A picture with all names that its source annotates.

        Args:
            example: The picture.
            seed: Of the stage.
        """
        random = chance(seed, Purpose.NAMES, example.number, 1)
        names = np.array(self.source_of(example).annotated, np.int64)
        return self.named_target(example, names, random)

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
