"""What a vision tower yields, for every structure.

Sizes: B pictures, D joint space, h x w patches.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


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

    def of_picture(self, index: int) -> "Patches":
        """The patches of one picture of the batch."""
        own = slice(index, index + 1)
        first, second = self.skips
        return Patches(self.joint[own], (first[own], second[own]))
