"""A method without weights that knows colours, for tests of what stands around a method."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from escnet.inference.label_maps.published_resize import View
from escnet.inference.methods.method import ViewLogits
from escnet.inference.segmenter import Segmenter

_COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
_SHARPNESS = 20.0


class ColourMethod:
    """A name is a colour; a pixel's logit is how much of it the pixel has."""

    name = "colours"
    template = "{}"
    view_size = 32
    settings: Mapping[str, object] = MappingProxyType({})
    rejection: tuple[int, ...] = ()
    num_tokens = 49_408

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([_COLOURS.get(text, (0.3, 0.3, 0.3)) for text in texts], np.float32)

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        return [text.encode() for text in texts]

    def encode_views(self, views: Sequence[View]) -> list[Any]:
        return list(views)

    def logits(
        self, views: Sequence[View], text_embedding: np.ndarray, owner: object = None
    ) -> list[ViewLogits]:
        del owner
        kept = list(range(len(text_embedding)))
        return [
            ViewLogits(
                np.einsum(
                    "hwc,nc->nhw", view.astype(np.float32) / 255 * _SHARPNESS, text_embedding
                ).astype(np.float32),
                kept,
            )
            for view in views
        ]


def colour_segmenter() -> Segmenter:
    """A segmenter that tells colours apart."""
    return Segmenter(ColourMethod(), model="colours", weights_hash="0" * 64)


def colour_picture() -> np.ndarray:
    """Red with a green square, which has a blue hole; 30 high, 40 wide."""
    picture = np.zeros((30, 40, 3), np.uint8)
    picture[..., 0] = 255
    picture[5:25, 8:32] = (0, 255, 0)
    picture[10:20, 15:25] = (0, 0, 255)
    return picture


def colour_labels() -> np.ndarray:
    """The picture's colours as positions among red, green, blue."""
    return colour_picture().argmax(axis=2).astype(np.uint8)
