"""SAM asked for masks: a picture encoded once, then any number of prompts.

SAM sees the picture in the upper left of a square, so its masks cover that square and are cut to
the picture here. All places are fractions of the picture.

Sizes: R prompts, P points of each, h x w the picture's part of SAM's grid of 256.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from transformers import SamModel

from escnet.inference.sam.decoder import MaskDecoder
from escnet.towers.resize import resized

SAM_SIDE = 1024  # pixels of the square that SAM sees
GRID = 256  # side of its masks
_MEAN = np.array((123.675, 116.28, 103.53))
_DEVIATION = np.array((58.395, 57.12, 57.375))


@runtime_checkable
class SamImageEncoder(Protocol):
    """The first part of SAM, any implementation of it."""

    def __call__(self, image: Float[Tensor, "1 3 1024 1024"]) -> Float[Tensor, "1 S 64 64"]:
        """The embedding of a normalised picture."""


class SamPicture(NamedTuple):
    """A picture as SAM has encoded it.

    Attributes:
        embedding: Of the whole square.
        size_hw: Rows and columns of the mask grid that the picture takes.
    """

    embedding: Float[Tensor, "1 S 64 64"]
    size_hw: tuple[int, int]


class SamAnswers(NamedTuple):
    """Three masks for each prompt, as logits, and the IoU that SAM expects of each."""

    logits: Float[Tensor, "R 3 h w"]
    quality: Float[Tensor, "R 3"]


class Sam:
    """SAM on a device, ready for prompts.

    Args:
        model: transformers' SAM; only its prompt encoder and mask decoder need be real where an
            image encoder is given.
        image_encoder: Used in place of the model's own.
        device: Where all of it computes.
    """

    def __init__(
        self,
        model: SamModel,
        image_encoder: SamImageEncoder | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.model = model.eval().to(self.device)
        self._encode = image_encoder or self._own_encoder
        self._decoder = MaskDecoder(self.model).eval().to(self.device)

    @torch.inference_mode()
    def encode(self, pixels: UInt8[np.ndarray, "H W 3"]) -> SamPicture:
        """The picture, encoded once for all its prompts."""
        embedding = self._encode(sam_square(pixels).to(self.device))
        return SamPicture(embedding.to(self.device), grid_size(pixels.shape[:2]))

    @torch.inference_mode()
    def answer(
        self,
        picture: SamPicture,
        point_xy: Float[Tensor, "R P 2"],
        label: Float[Tensor, "R P"],
        mask: Float[Tensor, "R a b"] | None = None,
        box_xyxy: Float[Tensor, "R 4"] | None = None,
    ) -> SamAnswers:
        """SAM's three masks for each prompt.

        Args:
            picture: What `encode` gave.
            point_xy: Points as fractions of the picture.
            label: 1 for a point on the object, 0 for one beside it, -1 for no point.
            mask: Mask logits over the picture, on any grid.
            box_xyxy: A box for each prompt, as fractions of the picture.
        """
        h, w = picture.size_hw
        extent = torch.tensor([w / GRID, h / GRID], device=self.device)
        # The prompt encoder adds half a pixel itself.
        pixel_xy = point_xy.to(self.device) * extent * SAM_SIDE - 0.5
        box = None
        if box_xyxy is not None:
            box = (box_xyxy.to(self.device) * extent.repeat(2) * SAM_SIDE - 0.5)[:, None]
        # A row is a picture to transformers.
        sparse, _ = self.model.prompt_encoder(
            pixel_xy[:, None], label.to(self.device)[:, None], box, None
        )
        return SamAnswers(
            *self._decoder(
                picture.embedding,
                self.model.get_image_wide_positional_embeddings(),
                sparse[:, 0],
                None if mask is None else in_square(mask.to(self.device), picture.size_hw),
                picture.size_hw,
            )
        )

    def _own_encoder(self, image: Float[Tensor, "1 3 1024 1024"]) -> Float[Tensor, "1 S 64 64"]:
        embedding: Tensor = self.model.vision_encoder(image)[0]
        return embedding


def sam_square(pixels: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "1 3 1024 1024"]:
    """The picture as SAM sees it: long side 1024, normalised, then filled up with zeros."""
    height, width = pixels.shape[:2]
    scale = SAM_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    values = ((np.asarray(small) - _MEAN) / _DEVIATION).astype(np.float32)
    square = torch.zeros(1, 3, SAM_SIDE, SAM_SIDE)
    square[0, :, : size[1], : size[0]] = torch.from_numpy(values).permute(2, 0, 1)
    return square


def grid_size(size_hw: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of SAM's mask grid that a picture of that size takes."""
    longest = max(size_hw)
    return max(1, round(GRID * size_hw[0] / longest)), max(1, round(GRID * size_hw[1] / longest))


def in_square(mask: Float[Tensor, "R a b"], size_hw: tuple[int, int]) -> Float[Tensor, "R 256 256"]:
    """Mask logits over the picture, put where it lies in SAM's square; their lowest beside it."""
    h, w = size_hw
    enlarged = resized(mask[:, None], size_hw)
    square = mask.amin(dim=(1, 2))[:, None, None].expand(-1, GRID, GRID).clone()
    square[:, :h, :w] = enlarged[:, 0]
    return square
