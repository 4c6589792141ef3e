"""When a pixel is the rest: what none of the names that were asked for explains.

A short list leaves much of a picture to the rest, a complete one nothing, and one threshold cannot
serve both. So the picture as a whole is asked first how much of it the names explain at least as
well as contrast names do (`escnet.inference.names.contrast`). See docs/adr.

Sizes: L labels, h x w the grid of the logits.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float32

from escnet.errors import ConfigError
from escnet.inference.label_maps.presence import peak
from escnet.towers.checks import is_within

EVEN = 0.5  # below it a label is less likely than not
_LOGITS = {"margin", "surface_logit"}
_WITH_LOGIT = {"least", "pixel_from", "present_from"}  # that of 0 or 1 would have no end
_BELOW = 1e-3  # a logit's distance to the floor, far above rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRule:
    """The numbers of a model whose probabilities can be relied on.

    Attributes:
        relative_from: Cosine of text embeddings from which a contrast name is a relative of a
            caller's name and is not asked.
        same_from: Cosine from which two names mean the same.
        margin: Names explain a place where their best logit is above the best contrast name's less
            this much.
        cover: Share of the picture that names must explain to be taken for all that it shows.
        surface_cover: So much less for each kind of stuff among the names that fills pictures, such
            as sky and ground, as a list with several of them is likely complete.
        surface_logit: Where the names are all, the logit of `pixel_from` is lowered by this much
            for each such kind of stuff.
        least: Never lower than to that of this probability.
        present_from: Else, a label whose peak is below this probability is not in the picture.
        pixel_from: A pixel belongs to a label from this probability on.

    Raises:
        ConfigError: If a number is out of range.
    """

    relative_from: float = 0.62
    same_from: float = 0.75
    margin: float = 1.0
    cover: float = 0.98
    surface_cover: float = 0.15
    surface_logit: float = 2.0
    least: float = 0.002
    present_from: float = 0.8
    pixel_from: float = 0.4

    def __post_init__(self) -> None:
        for name, value in self.as_settings().items():
            most = np.inf if name in _LOGITS else 1.0
            if not is_within(value, 0.0, most) or (name in _WITH_LOGIT and value in {0, 1}):
                raise ConfigError(f"rest {name} {value!r} is not a number between 0 and {most:g}")
        if not self.least <= self.pixel_from <= self.present_from:
            raise ConfigError(
                f"rest least {self.least:g}, pixel_from {self.pixel_from:g}, present_from "
                f"{self.present_from:g} are not in order: none may be above the next"
            )

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> "RestRule":
        """The rule of a checkpoint's settings.

        Raises:
            ConfigError: If one is unknown or out of range.
        """
        if unknown := set(settings) - set(cls.__dataclass_fields__):
            known = ", ".join(cls.__dataclass_fields__)
            raise ConfigError(f"rest has no number {min(unknown)!r}: choose from {known}")
        return cls(**settings)  # type: ignore[arg-type]

    def as_settings(self) -> dict[str, float]:
        """All numbers by name."""
        return asdict(self)

    def for_picture(
        self,
        logits: Float32[np.ndarray, "L h w"],
        contrast: Float32[np.ndarray, "K h w"],
        num_surfaces: int,
    ) -> "Rest":
        """When pixels of a picture are the rest.

        Args:
            logits: Of the caller's names, in the picture as a whole.
            contrast: Of the contrast names, on the same grid.
            num_surfaces: How many kinds of stuff that fill pictures the caller named.
        """
        cover = 1.0  # all that is known was named
        if len(contrast):
            cover = float((logits.max(axis=0) > contrast.max(axis=0) - self.margin).mean())
        if cover >= self.cover - self.surface_cover * num_surfaces:
            lowered = logit(self.pixel_from) - self.surface_logit * num_surfaces
            return Rest(max(self.least, float(1 / (1 + np.exp(-lowered)))))
        return Rest(self.pixel_from, self.present_from)


@dataclass(frozen=True, slots=True)
class Rest:
    """When a pixel of one picture is the rest.

    Attributes:
        floor: Where no label's probability reaches it.
        present_from: A label whose peak is below this probability is not in the picture; 0 where
            every label may be.
    """

    floor: float = EVEN
    present_from: float = 0.0

    def present(self, logits: Float32[np.ndarray, "L h w"]) -> Bool[np.ndarray, " L"]:
        """Which labels a view of the picture shows."""
        if not self.present_from:
            return np.ones(len(logits), bool)
        least = logit(self.present_from)
        return np.array([peak(own) >= least for own in logits], bool)

    def judged(
        self,
        logits: Float32[np.ndarray, "L h w"],
        is_present: Bool[np.ndarray, " L"],
    ) -> Float32[np.ndarray, "L h w"]:
        """The logits, where labels that are not present are all below the floor.

        They are lowered by what they lacked, so that the rest is surest where they were lowest.
        """
        if is_present.all():
            return logits
        floor = logit(self.floor)
        gap = logit(self.present_from) - floor
        lowered = logits.copy()
        for label in np.flatnonzero(~is_present):
            np.minimum(logits[label] - gap, floor - _BELOW, out=lowered[label])
        return lowered

    def probability(self, best: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """That of the rest, which is one half where the best label is at the floor.

        With a floor of one half it is one minus the best label's. With another floor the odds are
        weighed so that they are even there.

        Args:
            best: The probability of the best label.
        """
        rest, name = self.floor * (1 - best), (1 - self.floor) * best
        return (rest / (rest + name)).astype(best.dtype)


def logit(probability: float) -> float:
    """The logit of a probability from 0 to 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(np.divide(probability, 1 - probability)))
