"""What every tower is, and what their read-outs share.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, N texts, T tokens, X any channels.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.towers.patches import Patches


class VisionTower(nn.Module):
    """From a picture to its patches.

    Attributes:
        patch_size: Side of a patch, in pixels.
        skip_channels: Channels of the two skips.
        sam_channels: Channels of what SAM's blocks see of the picture.
        attentions: What the last block may attend by where a tower is used without training, the
            usual one first (`escnet.towers.self_attention`).
    """

    tower: Any  # transformers' model
    projection: Any  # to the joint space, where it is none of the model's
    patch_size: int
    skip_channels: tuple[int, int]
    sam_channels: int
    attentions: Sequence[str] = ("own",)

    @abstractmethod
    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        """The patches of pictures in [0, 1]; the tower's normalisation happens inside."""

    def unused_modules(self) -> Sequence[nn.Module]:
        """Modules whose parameters reach no output of `forward`, so that nothing trains them."""
        return ()

    def dense_embedding(
        self, image: Float[Tensor, "B 3 H W"], attention: str
    ) -> Float[Tensor, "B D h w"]:
        """Patch embeddings in the joint space, read out without training.

        Args:
            image: Pixels in [0, 1].
            attention: One of `attentions`.
        """
        del attention  # a tower with one way has it in `forward`
        return self(image).joint


class TextTower(nn.Module):
    """From tokens to text embeddings in the joint space."""

    tower: Any  # transformers' model
    projection: Any  # to the joint space, where it is none of the model's

    @abstractmethod
    def forward(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        """The embedding of each text.

        Args:
            token: Padded token indices.
            is_token: 1 for tokens, 0 for padding.
        """


class Towers(NamedTuple):
    """The two towers of a network."""

    vision: VisionTower
    text: TextTower


def normalised(
    image: Float[Tensor, "B 3 H W"],
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Float[Tensor, "B 3 H W"]:
    """Pixels in [0, 1] as the tower was trained to see them."""
    shift = torch.tensor(mean, device=image.device, dtype=image.dtype)[:, None, None]
    scale = torch.tensor(deviation, device=image.device, dtype=image.dtype)[:, None, None]
    return (image - shift) / scale


def grid_of(image: Float[Tensor, "B 3 H W"], patch_size: int) -> tuple[int, int]:
    """Rows and columns of a picture's patches."""
    return image.shape[2] // patch_size, image.shape[3] // patch_size


def to_map(
    token: Float[Tensor, "B T X"], num_leading: int, grid_hw: tuple[int, int]
) -> Float[Tensor, "B X h w"]:
    """Patch tokens as a map; leading tokens (the class token) are dropped."""
    return token[:, num_leading:].transpose(1, 2).unflatten(2, grid_hw)


def inner_of(tower: Any) -> Any:
    """The network inside transformers' wrapper of an image tower, in any of its versions."""
    return getattr(tower, "vision_model", tower)
