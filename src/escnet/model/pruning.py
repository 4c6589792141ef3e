"""Which class names a picture is segmented with when there are many.

Most names of a long list are not in the picture. Before each round of work the names that no patch
wants are rejected, and fixed numbers of them go on, so that the network keeps static shapes; SED's
category early rejection (Xie et al., CVPR 2024) and ERR-Seg's channel reduction are relatives. It
is not exact, as the names left out no longer take part in what the classes tell each other.

CAT-Seg's rule, which ESC-Net inherits (docs/paper-notes.md, note 21), is beside it.

Sizes: B pictures, N names, M of them left, L labels, h x w patches.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


class Rejection:
    """How many names go on after each look at the maps, and which.

    A label may have several names, its synonyms. They are judged together: all or none go on.

    Args:
        counts: How many labels go on after each look; the last holds for all looks that follow.
        owner: The label of every name; None where each is a label of its own.
    """

    def __init__(self, counts: Sequence[int], owner: Sequence[int] | None = None) -> None:
        self._counts = tuple(counts)
        self._owner: tuple[int, ...] | None = None
        self._sizes: tuple[int, ...] = ()
        if owner is not None and len(set(owner)) < len(owner):
            names_of = Counter(owner)
            self._owner = tuple(owner)
            self._sizes = tuple(names_of[label] for label in range(max(owner) + 1))
            largest = sorted(self._sizes, reverse=True)
            self._counts = tuple(sum(largest[:count]) for count in counts)

    def is_idle(self, look: int, num_names: int) -> bool:
        """Whether all names go on anyway.

        Never while a network is exported or compiled: any number of names is more then.
        """
        return not torch.compiler.is_compiling() and num_names <= self._count(look)

    def survivors(
        self, look: int, maps: Float[Tensor, "B N h w"], index: Int[Tensor, "B N"]
    ) -> Int[Tensor, "B M"]:
        """For each picture the positions of the names that go on, in their own order.

        Args:
            look: Which look at the maps this is, from 0 on.
            maps: How well each name that is left fits each patch; more of them than go on.
            index: Which names these are.
        """
        merit = self._merit(maps, index)
        return merit.topk(self._count(look), dim=1).indices.sort(dim=1).values

    def _count(self, look: int) -> int:
        return self._counts[min(look, len(self._counts) - 1)]

    def _merit(
        self, maps: Float[Tensor, "B N h w"], index: Int[Tensor, "B N"]
    ) -> Float[Tensor, "B N"]:
        """Each name's merit, that of its label."""
        if self._owner is None:
            return standing(maps)
        label = torch.tensor(self._owner, device=maps.device)[index]  # (B, N)
        size = torch.tensor(self._sizes, device=maps.device)  # (L,)
        of_label = maps.new_full((maps.shape[0], len(size), *maps.shape[2:]), -torch.inf)
        of_label.scatter_reduce_(1, label[..., None, None].expand_as(maps), maps, "amax")
        left = of_label.new_zeros(of_label.shape[:2])
        left.scatter_add_(1, label, torch.ones_like(maps[:, :, 0, 0]))
        is_cut = left < size  # lost a name at an earlier look, and so all of them
        of_label = of_label.masked_fill(is_cut[..., None, None], -torch.inf)
        return standing(of_label).gather(1, label)

    def whole(self, index: Sequence[int]) -> list[int]:
        """The positions of the names whose labels have all their names among them.

        Args:
            index: Names that are left of one picture.
        """
        if self._owner is None:
            return list(range(len(index)))
        left = Counter(self._owner[name] for name in index)
        return [
            row
            for row, name in enumerate(index)
            if left[self._owner[name]] == self._sizes[self._owner[name]]
        ]


def standing(maps: Float[Tensor, "B L h w"]) -> Float[Tensor, "B L"]:
    """How many patches each label is the best of; if of none, how far it is behind at the nearest.

    So whoever is the best of a patch comes before all who are the best of none, and where there
    are more of those than places, the ones that cover least go; of equal ones that of the lower
    peak.
    """
    maps = maps.float()  # half precision cannot count patches
    gap = maps - maps.amax(dim=1, keepdim=True)  # 0 where a label is the best
    won = (gap == 0).sum(dim=(2, 3))
    return torch.where(won > 0, won + maps.amax(dim=(2, 3)).sigmoid(), gap.amax(dim=(2, 3)))


def likely_names(peak: Float[Tensor, "B N"], most: int) -> Int[Tensor, "B M"]:
    """CAT-Seg's rule: for each picture the names of the highest peaks, in their own order.

    Args:
        peak: The highest correlation of each name in each picture.
        most: At most this many are kept; 0 keeps all.
    """
    B, N = peak.shape
    if most == 0 or most >= N:
        return torch.arange(N, device=peak.device).expand(B, -1)
    return peak.topk(most, dim=1).indices.sort(dim=1).values


def of_names(
    values: Shaped[Tensor, "#B N *rest"], position: Int[Tensor, "B M"]
) -> Shaped[Tensor, "B M *rest"]:
    """Of each picture the values of some names.

    Args:
        values: Of all names; one leading picture stands for every picture.
        position: Which names, for each picture.
    """
    B = position.shape[0]  # `len` would fix the number of pictures in an exported network
    picture = torch.arange(B, device=position.device)[:, None]
    return values.expand(B, *values.shape[1:])[picture, position]
