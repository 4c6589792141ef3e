"""What no network's settings may be, said before anything is built of them."""

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from escnet.errors import ConfigError

_ALIKE = 0.85  # of difflib's ratio: "regions_per_clas" and "regions_per_class" have 0.97


def check_whole_numbers(settings: Mapping[str, object], *, least: int = 1) -> None:
    """Refuse sizes that are no whole numbers, or too small.

    Args:
        settings: By name.
        least: The smallest that each may be.

    Raises:
        ConfigError: If one of them is not.
    """
    for name, value in settings.items():
        if type(value) is not int:  # True is an int, too
            raise ConfigError(f"{name} {value!r} is no whole number: give one from {least} on")
        if value < least:
            raise ConfigError(f"{name} {value} is too small: give {least} or more")


def check_pair(name: str, values: Sequence[object]) -> None:
    """Refuse what is not one positive number for each of two stages.

    Raises:
        ConfigError: If it is not.
    """
    if len(values) != 2:
        raise ConfigError(f"{name} {list(values)} has {len(values)} entries: give two")
    check_whole_numbers({f"{name}[{place}]": value for place, value in enumerate(values)})


def check_rejection(counts: Sequence[object]) -> None:
    """Refuse numbers of labels that cannot go on one after the other.

    Raises:
        ConfigError: If one is no whole number from 1 on, or larger than the one before.
    """
    check_whole_numbers({f"rejection[{place}]": count for place, count in enumerate(counts)})
    if list(counts) != sorted(counts, reverse=True):  # type: ignore[type-var]
        raise ConfigError(
            f"rejection {list(counts)} grows: names that were rejected do not come back, "
            "so order the counts from the largest to the smallest"
        )


def check_kernel(name: str, side: int) -> None:
    """Refuse a kernel that has no centre, whose answer would be of another size than its input.

    Raises:
        ConfigError: If its side is even.
    """
    if side % 2 == 0:
        raise ConfigError(f"{name} {side} is even: choose {side + 1}, or another odd side")


def check_taps(taps: Sequence[object], depth: int) -> None:
    """Refuse blocks that an image tower does not have.

    Args:
        taps: Indices of two of its blocks, counted from 0.
        depth: Its number of blocks.

    Raises:
        ConfigError: If there are not two, or one is outside.
    """
    is_block = [type(tap) is int and 0 <= tap < depth for tap in taps]
    if len(taps) != 2 or not all(is_block):
        raise ConfigError(
            f"taps {list(taps)} are not two of a tower of {depth} blocks: "
            f"give two indices from 0 to {depth - 1}"
        )


def check_no_misspelling(given: Collection[str], known: Collection[str]) -> None:
    """Refuse a setting whose name is nearly that of another.

    Others may pass: transformers keeps settings of its own, other ones in each version.

    Args:
        given: Names that the class does not know.
        known: The class's own settings.

    Raises:
        ConfigError: If one of them looks like a slip.
    """
    for name in given:
        if near := difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE):
            raise ConfigError(f"there is no setting {name!r}: is {near[0]!r} meant?")


def is_within(value: object, least: float, most: float = math.inf) -> bool:
    """Whether a value is a finite number of a range; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return bool(least <= value <= most and value < math.inf)


def check_share_prior(share_prior: object) -> None:
    """Refuse an exponent that would favour what a picture shows little of, or no number.

    Raises:
        ConfigError: If it is not a number from 0 on.
    """
    if not is_within(share_prior, 0.0):
        raise ConfigError(f"share_prior {share_prior!r} is not a number from 0 on: 0 turns it off")


def check_image_size(image_size: int, patch_size: int) -> None:
    """Refuse a picture that is not whole patches.

    Raises:
        ConfigError: If it is not.
    """
    check_whole_numbers({"image_size": image_size, "patch_size": patch_size})
    if image_size % patch_size:
        raise ConfigError(
            f"image_size {image_size} is not a multiple of patch_size {patch_size}: "
            f"try {max(1, image_size // patch_size) * patch_size}"
        )


def check_template(template: Any) -> None:
    """Refuse a template that does not hold the class name once.

    Raises:
        ConfigError: If it does not.
    """
    if not isinstance(template, str):
        raise ConfigError(f"template {template!r} is no text: write one with {{}} in it")
    if template.count("{}") != 1:
        raise ConfigError(
            f"template {template!r} has {template.count('{}')} places for the name: "
            "write {} exactly once"
        )
