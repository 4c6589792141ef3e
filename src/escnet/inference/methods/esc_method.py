"""ESC-Net as a method.

Sizes: N texts, M of them kept, D the width of the joint space.
"""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from escnet.inference.label_maps.published_resize import View, square_image
from escnet.inference.methods.memory import DEFAULT_BUDGET, class_chunk
from escnet.inference.methods.method import ViewLogits
from escnet.inference.methods.model_name import TINY
from escnet.inference.methods.network_method import NetworkMethod, as_array, left_of_view
from escnet.inference.methods.tokens import byte_tokenizer, load_tokenizer
from escnet.model.config import preset
from escnet.model.correlation import correlation_map
from escnet.model.escnet import EscNet
from escnet.model.pruning import Rejection, likely_names
from escnet.towers.patches import Patches
from escnet.towers.table import tower_kind
from escnet.weights.checkpoint import load_checkpoint, weights_hash

_DEFAULT_TOKENS = 77


class EscMethod(NetworkMethod[EscNet]):
    """ESC-Net, ready for views."""

    name = "esc-net"

    @property
    def view_size(self) -> int:
        """Side of the square that the network sees."""
        return self.network.config.image_size

    @property
    def settings(self) -> dict[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        return {"max_classes": self.network.config.max_classes, "dtype": self.dtype}

    def patch_embedding(self, view: Patches) -> Float32[np.ndarray, "D h w"]:
        """Where the patches of a view lie in the joint space, as vectors of any length."""
        return as_array(view.joint[0])

    def _image(self, view: View) -> Float32[np.ndarray, "3 side side"]:
        return square_image(view, self.view_size)

    def of_patches(
        self,
        patches: Patches,
        text_embedding: Float[Tensor, "N D"],
        rejection: Rejection | None = None,
    ) -> ViewLogits:
        config = self.network.config
        chunk = class_chunk(config, budget=self.memory_budget)
        if rejection is not None:
            answer = self.network.segment(patches, text_embedding, chunk, rejection=rejection)
            return left_of_view(answer.logits, answer.place, rejection)
        kept = likely_queries(patches, text_embedding, config.max_classes)
        logits = self.network.segment(patches, text_embedding[kept], chunk).logits[0]
        return ViewLogits(as_array(logits), kept.tolist())


def likely_queries(
    patches: Patches, text_embedding: Float[Tensor, "N D"], most: int
) -> Int[Tensor, " M"]:
    """Indices of the texts that the network segments a picture with, in their own order.

    Args:
        patches: Of one picture.
        text_embedding: One for each text.
        most: At most this many are kept; 0 keeps all.
    """
    peak = correlation_map(patches.joint, text_embedding).amax(dim=(2, 3))  # (1, N)
    return likely_names(peak, most)[0]


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
    digest = sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return method, digest.hexdigest()


def load_esc_method(
    folder: Path, *, device: str, dtype: str, memory_budget: int = DEFAULT_BUDGET
) -> tuple[EscMethod, str]:
    """The method from a checkpoint folder, and the hash of its weights.

    Raises:
        WeightsError: If the weights are not here, damaged, or of another kind.
    """
    network = load_checkpoint(folder)
    most = network.config.text_config.get("max_position_embeddings", _DEFAULT_TOKENS)
    tokenize = load_tokenizer(folder, most, tower_kind(network.config.towers).reading)
    method = EscMethod(network, tokenize, device=device, dtype=dtype, memory_budget=memory_budget)
    return method, weights_hash(folder)
