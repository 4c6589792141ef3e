"""How pictures are segmented: all that a caller may choose besides the model and the names.

One object from the door to the method. What cannot be is refused as it is made, before any weights
are read; this module needs no PyTorch.
"""

from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np

from escnet.data.limits import MAX_PIXELS
from escnet.data.value_range import check_depth
from escnet.errors import ConfigError, either, setting
from escnet.inference.label_maps.windows import Windows, windows_of
from escnet.towers.checks import check_share_prior, is_within

_MOST_RANKS = 10


class OptionValues(TypedDict, total=False):
    """The options as keywords of a function; see `SegmentOptions`."""

    void_below: float
    windows: Windows | str | None
    share_prior: float | None
    max_pixels: int
    depth: int | None
    min_area: int
    fill_holes: int
    exact: bool
    top: int
    scores: bool
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """How pictures are segmented.

    Attributes:
        void_below: Pixels of lower confidence get no label, from 0 to 1, those of the background
            class among them.
        windows: How a picture is cut into windows; None sees it as a whole.
        share_prior: How much a label counts by the share of the picture that it seems to cover, 0
            for not at all; None for what the model says. A window does not show that share, so a
            prior can be set only where pictures are seen as a whole.
        max_pixels: The largest picture that is read.
        depth: Bits that are used of a value of more than 8; None for the rule of
            `escnet.data.value_range`.
        min_area: Regions of fewer pixels go to the neighbour with the longest border.
        fill_holes: Holes of up to this many pixels within one name become that name.
        exact: Whether every name takes part in all work; else those that seem to be nowhere in
            the picture are rejected early, which is faster for long lists.
        top: So many best names of every pixel are kept with their probabilities, up to 10.
        scores: Whether the score map of every name is kept, on the grid that the model answers on;
            only where pictures are seen as a whole.
        level: Results have groups of a names file in place of labels: 1 for the outermost, 2 for
            those within them, and so on; 0 for the labels themselves.

    Raises:
        ConfigError: If a value is no number or out of range, or two contradict each other.
    """

    void_below: float = 0.0
    windows: Windows | None = None
    share_prior: float | None = None
    max_pixels: int = MAX_PIXELS
    depth: int | None = None
    min_area: int = 0
    fill_holes: int = 0
    exact: bool = False
    top: int = 0
    scores: bool = False
    level: int = 0

    def __post_init__(self) -> None:
        _check(self.void_below, self.windows, self.share_prior, self.max_pixels)
        if self.scores and self.windows is not None:
            raise ConfigError(
                f"score maps are of pictures seen as a whole: leave {setting('windows')}, or "
                f"{either('scores', 'the format scores')}, out"
            )
        check_depth(self.depth)
        _check_areas(self.min_area, self.fill_holes)
        if not is_within(self.top, 0.0, float(_MOST_RANKS)) or not isinstance(
            self.top, int | np.integer
        ):
            raise ConfigError(
                f"top {self.top!r} is no number of names: choose a whole number from "
                f"0 to {_MOST_RANKS}"
            )
        if not is_within(self.level, 0.0) or not isinstance(self.level, int | np.integer):
            raise ConfigError(
                f"{setting('level')} {self.level!r} is no level of groups: choose 1 for the "
                "outermost groups, 2 for those within them, and so on"
            )

    @property
    def is_tidy(self) -> bool:
        """Whether small regions or holes are to go."""
        return self.min_area > 1 or self.fill_holes > 0

    @classmethod
    def of(cls, **values: Unpack[OptionValues]) -> "SegmentOptions":
        """The options, of which windows may be the name "whole", "paper" or "native".

        Raises:
            ConfigError: As for the class, or if there are no windows of this name.
        """
        own: dict[str, Any] = {**values, "windows": windows_of(values.get("windows"))}
        return cls(**own)


def _check(void_below: object, windows: object, share_prior: object, max_pixels: object) -> None:
    """Refuse values of any type that are no options."""
    if not is_within(void_below, 0.0, 1.0):
        raise ConfigError(
            f"{setting('void_below')} {void_below!r} is not a confidence: choose one from 0 to 1"
        )
    if share_prior is not None:
        check_share_prior(share_prior)
        if share_prior and windows is not None:
            raise ConfigError(
                f"{setting('share_prior')} {share_prior:g} needs pictures seen as a whole: "
                f"leave out one of it and {setting('windows')}"
            )
    if not is_within(max_pixels, 1.0) or not isinstance(max_pixels, int | np.integer):
        raise ConfigError(
            f"{setting('max_pixels')} {max_pixels!r} leaves no picture: "
            "choose a whole number, at least 1"
        )


def _check_areas(min_area: object, fill_holes: object) -> None:
    for name, value in (("min_area", min_area), ("fill_holes", fill_holes)):
        if not is_within(value, 0.0) or not isinstance(value, int | np.integer):
            raise ConfigError(
                f"{setting(name)} {value!r} is no number of pixels: "
                "choose a whole number, 0 or more"
            )
