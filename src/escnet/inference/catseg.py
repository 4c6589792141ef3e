"""CAT-Seg as a method: correlation refined by aggregation, with published or own weights.

Sizes: N texts, M of them kept, D the width of the joint space.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from escnet.inference.device import chosen_device, chosen_dtype
from escnet.inference.memory import DEFAULT_BUDGET
from escnet.inference.method import ViewLogits
from escnet.inference.tokens import Tokenize, load_tokenizer
from escnet.model.catseg import CatSeg
from escnet.model.catseg_config import CatSegConfig
from escnet.model.vision import Patches
from escnet.weights.checkpoint import load_network, weights_hash

_TEXTS_AT_ONCE = 256
_MOST_TOKENS = 77
_SHORT_SIDE, _LONG_SIDE = 640, 2560  # a larger view is shrunk to that first, smoothly
_MOST_CLASSES = 32  # larger chunks gain nothing
_BYTES = 4


class CatSegMethod:
    """A CAT-Seg network with its tokenizer on a device.

    Attributes:
        network: The network, in evaluation mode.
        device: Where it computes.
        dtype: What matrix products are computed in.
        memory_budget: Bytes of working memory for the class names; it bounds the memory and does
            not change the result.
    """

    name = "cat-seg"

    def __init__(
        self,
        network: CatSeg,
        tokenize: Tokenize,
        *,
        device: str = "auto",
        dtype: str = "float32",
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        chosen_dtype(dtype)
        self.device = chosen_device(device)
        self.dtype = dtype
        self.memory_budget = memory_budget
        self.network = network.eval().to(self.device)
        self._tokenize = tokenize

    @property
    def template(self) -> str:
        """Sentence that a class name is put into."""
        return self.network.config.template

    @property
    def view_size(self) -> int:
        """Side of the square that a view is brought to."""
        return self.network.config.view_size

    @property
    def settings(self) -> Mapping[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        config = self.network.config
        return {
            "image_size": config.image_size,
            "max_classes": config.max_classes,
            "pooling": config.pooling,
            "dtype": self.dtype,
        }

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N D"]:
        """The embeddings of texts that the template has been applied to.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """
        parts = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            tokens = self._tokenize(texts[start : start + _TEXTS_AT_ONCE])
            parts.append(
                self.network.encode_text(
                    tokens.token.to(self.device), tokens.is_token.to(self.device)
                )
            )
        return torch.cat(parts)

    @torch.inference_mode()
    def logits(
        self, views: Sequence[UInt8[np.ndarray, "_ _ 3"]], text_embedding: Float[Tensor, "N D"]
    ) -> list[ViewLogits]:
        """The logits of each view; the same as one by one."""
        config = self.network.config
        image = torch.stack([seen_as(view, config.view_size, config.image_size) for view in views])
        chunk = class_chunk(config, self.memory_budget)
        found = []
        is_mixed = self.dtype != "float32"
        with torch.autocast(self.device.type, chosen_dtype(self.dtype), enabled=is_mixed):
            patches = self.network.vision(image.to(self.device))
            for index in range(len(views)):
                one = Patches(
                    patches.joint[index : index + 1],
                    tuple(skip[index : index + 1] for skip in patches.skips),
                )
                logits, kept = self.network.segment(one, text_embedding, chunk)
                found.append(ViewLogits(logits[0], kept[0].tolist()))
        return found


def load_catseg_method(
    folder: Path, *, device: str, dtype: str, memory_budget: int = DEFAULT_BUDGET
) -> tuple[CatSegMethod, str]:
    """The method from a checkpoint that `escnet weights convert catseg` wrote, and its hash.

    Raises:
        WeightsError: If it is damaged, of another kind, or without a tokenizer.
    """
    network = load_network(folder, CatSeg)
    most = network.config.text_config.get("max_position_embeddings", _MOST_TOKENS)
    tokenize = load_tokenizer(folder, most)
    method = CatSegMethod(
        network, tokenize, device=device, dtype=dtype, memory_budget=memory_budget
    )
    return method, weights_hash(folder)


def seen_as(
    view: UInt8[np.ndarray, "_ _ 3"], view_size: int, image_size: int
) -> Float[Tensor, "3 side side"]:
    """A view as the tower's square input, in [0, 1], resized in the steps of CAT-Seg's evaluation.

    A view larger than that evaluation reads is shrunk smoothly; then it is squeezed to the square
    of a view and that to the tower's, both bilinearly from the four nearest pixels. Between the
    last two CAT-Seg normalises the pixels, which is the same, as the weights of four pixels sum
    to 1.
    """
    pixels = torch.from_numpy(np.array(_shrunk(view), np.float32)).permute(2, 0, 1)[None]
    for side in (view_size, image_size):
        if pixels.shape[-2:] != (side, side):
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
    return pixels[0] / 255


def class_chunk(config: CatSegConfig, budget: int) -> int:
    """The number of class names to work on at a time; at least 1.

    Args:
        config: The network's settings.
        budget: Bytes of working memory, beyond the weights and what is kept for every class.
    """
    patches = config.grid_size**2
    # Aggregation: state, norm, queries, keys, values, scores of the windows, the inner layer.
    scores = patches * config.num_heads * config.window**2
    aggregation = patches * config.hidden_dim * (8 + 2 * config.ffn_ratio) + scores
    # Decoder: the finest stage, before and after a convolution and its norm.
    decoder = 16 * patches * 4 * max(config.decoder_dims[1], config.decoder_dims[0] // 4)
    fitting = budget // (_BYTES * max(aggregation, decoder))
    return max(1, min(_MOST_CLASSES, fitting))


def _shrunk(view: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    height, width = view.shape[:2]
    scale = min(_SHORT_SIDE / min(height, width), _LONG_SIDE / max(height, width))
    if scale >= 1:
        return view
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    return np.asarray(Image.fromarray(view).resize(size, Image.Resampling.BILINEAR))
