"""ESC-Net as a method: the network with its tokenizer, device, precision, and memory budget."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from escnet.inference.device import chosen_device, chosen_dtype
from escnet.inference.memory import DEFAULT_BUDGET, class_chunk
from escnet.inference.method import ViewLogits
from escnet.inference.pruning import likely_queries
from escnet.inference.tokens import Tokenize, byte_tokenizer, load_tokenizer
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.model.vision import Patches
from escnet.weights.checkpoint import load_checkpoint, weights_hash

TINY = "tiny"  # a small random network, for tests

_TEXTS_AT_ONCE = 256
_SIGLIP_TOKENS = 64
_DEFAULT_TOKENS = 77


class EscMethod:
    """ESC-Net, ready for views.

    Attributes:
        network: The network, in evaluation mode.
        device: Where it computes.
        dtype: What matrix products are computed in.
        memory_budget: Bytes of working memory for the class names; it bounds the memory and does
            not change the result.
    """

    name = "esc-net"

    def __init__(
        self,
        network: EscNet,
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
        """Side of the square that the network sees."""
        return self.network.config.image_size

    @property
    def settings(self) -> dict[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        return {"max_classes": self.network.config.max_classes, "dtype": self.dtype}

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
        """Of each view the logits of the texts that were kept, and which these are."""
        config = self.network.config
        image = torch.stack([square_image(view, config.image_size) for view in views])
        chunk = class_chunk(config, budget=self.memory_budget)
        found = []
        is_mixed = self.dtype != "float32"
        with torch.autocast(self.device.type, chosen_dtype(self.dtype), enabled=is_mixed):
            patches = self.network.vision(image.to(self.device))
            for index in range(len(views)):
                one = Patches(
                    patches.joint[index : index + 1],
                    tuple(skip[index : index + 1] for skip in patches.skips),
                )
                kept = likely_queries(one.joint, text_embedding, config.max_classes)
                logits = self.network.segment(one, text_embedding[kept], chunk).logits[0]
                found.append(ViewLogits(logits, kept.tolist()))
        return found


def square_image(pixels: UInt8[np.ndarray, "H W 3"], side: int) -> Float[Tensor, "3 side side"]:
    """The whole view as a network's square input, in [0, 1]."""
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1) / 255


def tiny_esc_method(
    *, device: str, dtype: str, memory_budget: int = DEFAULT_BUDGET
) -> tuple[EscMethod, str]:
    """The random network for tests, the same every time, and its hash."""
    config = preset(TINY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = EscNet(config)
    text = config.text_config
    tokenize = byte_tokenizer(
        text["bos_token_id"], text["eos_token_id"], text["max_position_embeddings"]
    )
    method = EscMethod(network, tokenize, device=device, dtype=dtype, memory_budget=memory_budget)
    return method, sha256(TINY.encode()).hexdigest()


def load_esc_method(
    folder: Path, *, device: str, dtype: str, memory_budget: int = DEFAULT_BUDGET
) -> tuple[EscMethod, str]:
    """The method from a checkpoint folder, and the hash of its weights.

    Raises:
        WeightsError: If the weights are not here, damaged, or of another kind.
    """
    network = load_checkpoint(folder)
    tokenize = _tokenizer_of(network, folder)
    method = EscMethod(network, tokenize, device=device, dtype=dtype, memory_budget=memory_budget)
    return method, weights_hash(folder)


def _tokenizer_of(network: EscNet, folder: Path) -> Tokenize:
    config = network.config
    most = config.text_config.get("max_position_embeddings", _DEFAULT_TOKENS)
    if config.text == "siglip":
        most = min(most, _SIGLIP_TOKENS)
        return load_tokenizer(folder, most, padded_to=most)
    return load_tokenizer(folder, most)
