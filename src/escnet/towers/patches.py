"""What a vision tower yields, for every structure.

Sizes: B pictures, D joint space, h x w patches.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

AnyPatches = TypeVar("AnyPatches", bound="Patches")


@dataclass(frozen=True)
class Patches:
    """A picture as a vision tower sees it.

    Attributes:
        joint: Patch embeddings in the joint space.
        skips: Two maps for the decoder, that of its coarser stage first, of any resolution.
    """

    joint: Float[Tensor, "B D h w"]
    skips: tuple[Float[Tensor, "B _ _ _"], Float[Tensor, "B _ _ _"]]

    @property
    def sam_input(self) -> Float[Tensor, "B _ h w"]:
        """What SAM's blocks see of the picture (docs/paper-notes.md, note 9)."""
        return self.joint

    def of_picture(self: AnyPatches, index: int) -> AnyPatches:
        """The patches of one picture of the batch."""
        own = slice(index, index + 1)
        maps = {one.name: _rows(getattr(self, one.name), own) for one in fields(self)}
        return replace(self, **maps)

    def each(self: AnyPatches) -> list[AnyPatches]:
        """The patches of each picture of the batch."""
        return [self.of_picture(index) for index in range(len(self.joint))]


def _rows(maps: Any, own: slice) -> Any:
    """Some pictures' part of a map, or of each of several."""
    if isinstance(maps, tuple):
        return tuple(one[own] for one in maps)
    return None if maps is None else maps[own]
