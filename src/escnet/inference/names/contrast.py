"""Contrast names: everyday stuff and things that a picture may show besides what was asked.

What they explain better than the caller's names do, the caller did not name. Neither a kind, nor a
part, nor the whole of something that was named may be among them, or it would take its pixels.

Sizes: N queries, K contrast names, D the width of the joint space.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from escnet.inference.names.unit_vectors import unit_vectors

_FILE = "everyday.toml"


class Group(NamedTuple):
    """Contrast names that are kinds of one thing.

    Attributes:
        names: What is asked.
        words: Words for all of them, or for parts of them.
        surface: The stuff that they are, of those that fill pictures; empty for things.
    """

    names: tuple[str, ...]
    words: frozenset[str]
    surface: str


class Contrast(NamedTuple):
    """What is asked beside the caller's names.

    Attributes:
        names: Contrast names without relatives of the caller's.
        embedding: Theirs.
        num_surfaces: How many kinds of stuff that fill pictures the caller named.
    """

    names: tuple[str, ...]
    embedding: Float32[np.ndarray, "K D"]
    num_surfaces: int


@cache
def everyday_groups() -> tuple[Group, ...]:
    """The groups of the package's own list."""
    text = files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return tuple(
        Group(tuple(group["names"]), frozenset(group["words"]), group.get("surface", ""))
        for group in tomllib.loads(text)["groups"]
    )


def everyday_names() -> tuple[str, ...]:
    """All contrast names, in the groups' order."""
    return tuple(name for group in everyday_groups() for name in group.names)


def contrast_to(
    queries: Sequence[str],
    embedding: Float32[np.ndarray, "N D"],
    everyday_embedding: Float32[np.ndarray, "everyday D"],
    *,
    relative_from: float,
    same_from: float,
) -> Contrast:
    """The contrast names for a caller's.

    A contrast name is a relative where its embedding is near one of the caller's, or where the
    caller names its group by a word.

    Args:
        queries: The caller's.
        embedding: Theirs, of any length.
        everyday_embedding: Of `everyday_names`.
        relative_from: The cosine from which two names are relatives.
        same_from: The cosine from which they mean the same, so that its kind of stuff was named.
    """
    cosine = unit_vectors(everyday_embedding) @ unit_vectors(embedding).T  # (everyday, N)
    is_relative, is_meant = ((cosine >= limit).any(axis=1) for limit in (relative_from, same_from))
    spoken = {form for query in queries for form in _forms(query)}
    surfaces, start = set(), 0
    for group in everyday_groups():
        own = slice(start, start + len(group.names))
        start = own.stop
        is_named = not spoken.isdisjoint(group.words)
        if group.surface and (is_named or is_meant[own].any()):
            surfaces.add(group.surface)
        is_relative[own] |= is_named
    names = np.array(everyday_names())[~is_relative]
    return Contrast(tuple(names.tolist()), everyday_embedding[~is_relative], len(surfaces))


def _forms(query: str) -> set[str]:
    """A query as it is and in the singular, if it is a plural."""
    whole = " ".join(query.replace("_", " ").casefold().split())
    return {whole, whole.removesuffix("s"), whole.removesuffix("es")}
