"""What a vision tower yields, for every structure.

Sizes: B pictures, D joint space, h x w patches, S channels of a summary.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Patches(NamedTuple):
    """What a vision tower yields.

    Attributes:
        joint: Patch embeddings in the joint space.
        skips: Two maps for the decoder, that of its coarser stage first, of any resolution.
        edges: A map of at least half the picture's resolution, which guides the upsampling of the
            logits; None where the tower has none so fine.
        summary: Of the whole picture, as one vector; None where the tower has none.
        detail: Pixel embeddings on a fine grid (`detail.py`); None where the tower has no branch
            for them, or was given feature maps instead of a picture.
        inner: What the joint embeddings were made of, where SAM is to see that instead
            (docs/paper-notes.md, note 9).
    """

    joint: Float[Tensor, "B D h w"]
    skips: tuple[Float[Tensor, "B _ _ _"], Float[Tensor, "B _ _ _"]]
    edges: Float[Tensor, "B _ _ _"] | None = None
    summary: Float[Tensor, "B S"] | None = None
    detail: Float[Tensor, "B _ _ _"] | None = None
    inner: Float[Tensor, "B _ h w"] | None = None

    def of_picture(self, index: int) -> "Patches":
        """One picture's."""
        own = slice(index, index + 1)
        first, second = self.skips
        edges, summary, detail, inner = (
            None if x is None else x[own]
            for x in (self.edges, self.summary, self.detail, self.inner)
        )
        return Patches(self.joint[own], (first[own], second[own]), edges, summary, detail, inner)
