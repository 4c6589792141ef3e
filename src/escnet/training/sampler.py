"""Which picture comes when: several sources mixed, each walked through again and again.

Every picture of a source is shown once before any of them is shown a second time, or, where
pictures are worth more or less than others, as often as it is worth, rounded up or down. Pictures
are numbered through a stage, and the number alone says which one it is: no state has to be kept,
and it does not matter how many processes draw them.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from escnet.training.chance import Purpose, chance

_BLOCK = 1000  # numbers in which the sources' shares are exact
LEAST_SHARE = 1 / (2 * _BLOCK)  # less would round to nothing

Worth = Sequence[Float[np.ndarray, " _"] | None]


class PictureIndex(NamedTuple):
    """A picture: the index of its source, and its index there."""

    source: int
    row: int


class Sampler:
    """A stage's endless series of pictures.

    Args:
        sizes: How many pictures each source has.
        weights: How large a share each source has, relative to the others; 0 for none.
        seed: Another seed gives another series.
        worth: For each source, how often each of its pictures is shown in a turn, with a mean of 1;
            None shows all of them once.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[float],
        seed: int,
        worth: Worth | None = None,
    ) -> None:
        self._sizes = tuple(sizes)
        self._weights = tuple(weights)
        self._quotas = _quotas(weights)
        self._seed = seed
        self._worth = tuple(worth) if worth is not None else (None,) * len(self._sizes)
        # Not a decorator: the caches belong to this sampler, and each process makes its own.
        self._order_of_block = lru_cache(maxsize=4)(self._sources_in_block)
        self._turn_of = lru_cache(maxsize=2 * len(self._sizes))(self._shuffled)

    def __reduce__(self) -> tuple[type["Sampler"], tuple[object, ...]]:
        return Sampler, (self._sizes, self._weights, self._seed, self._worth)

    def place_of(self, number: int, attempt: int = 0) -> PictureIndex:
        """The picture with that number.

        Args:
            number: From 0.
            attempt: Which picture to take where the one before it, of the same source, was broken.
        """
        block, offset = divmod(number, _BLOCK)
        order = self._order_of_block(block)
        source = int(order[offset])
        earlier = block * self._quotas[source] + int(np.count_nonzero(order[:offset] == source))
        size = self._sizes[source]
        turn, position = divmod(earlier, size)
        # A broken picture's stead is taken by one from far ahead in the same turn.
        position = (position + attempt * (size // 3 + 1)) % size
        return PictureIndex(source, int(self._turn_of(source, turn)[position]))

    def _sources_in_block(self, block: int) -> Int[np.ndarray, " n"]:
        order = np.repeat(np.arange(len(self._quotas)), self._quotas)
        return chance(self._seed, Purpose.ORDER, block).permutation(order)

    def _shuffled(self, source: int, turn: int) -> Int[np.ndarray, " n"]:
        random = chance(self._seed, Purpose.TURN, source, turn)
        rows = np.arange(self._sizes[source])
        if (worth := self._worth[source]) is not None:
            ends = np.floor(np.cumsum(worth) * len(rows) / worth.sum() + random.random())
            ends[-1] = len(rows)
            rows = np.repeat(rows, np.diff(ends, prepend=0).astype(int))
        return random.permutation(rows)


def _quotas(weights: Sequence[float]) -> tuple[int, ...]:
    """How many numbers of a block each source has: its share, rounded so that the sum is right.

    Every source with a weight has one at least, at the cost of the largest.
    """
    exact = np.array(weights, float) / sum(weights) * _BLOCK
    quotas = np.floor(exact).astype(int)
    largest_rests = np.argsort(quotas - exact, kind="stable")[: _BLOCK - quotas.sum()]
    quotas[largest_rests] += 1
    for index in np.flatnonzero((quotas == 0) & (exact > 0)):
        quotas[quotas.argmax()] -= 1
        quotas[index] = 1
    return tuple(int(quota) for quota in quotas)
