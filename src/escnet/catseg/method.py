"""CAT-Seg as a method: correlation refined by aggregation, with published or own weights.

Sizes: N texts, D the width of the joint space.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from escnet.catseg.network import CatSeg
from escnet.errors import WeightsError
from escnet.inference.label_maps.published_resize import View, published_image
from escnet.inference.methods.memory import DEFAULT_BUDGET, class_chunk
from escnet.inference.methods.method import ViewLogits
from escnet.inference.methods.network_method import NetworkMethod, as_array, left_of_view
from escnet.inference.methods.tokens import load_tokenizer
from escnet.model.pruning import Rejection
from escnet.towers.clip import CLIP
from escnet.towers.patches import Patches
from escnet.weights.checkpoint import load_network, weights_hash

_MOST_TOKENS = 77


class CatSegMethod(NetworkMethod[CatSeg]):
    """CAT-Seg, ready for views."""

    name = "cat-seg"

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

    def _image(self, view: View) -> Float32[np.ndarray, "3 side side"]:
        return published_image(view, self.view_size, self.network.config.image_size)

    def of_patches(
        self,
        patches: Patches,
        text_embedding: Float[Tensor, "N D"],
        rejection: Rejection | None = None,
    ) -> ViewLogits:
        chunk = class_chunk(self.network.config, budget=self.memory_budget)
        logits, kept = self.network.segment(patches, text_embedding, chunk, rejection=rejection)
        if rejection is not None:
            return left_of_view(logits, kept, rejection)
        return ViewLogits(as_array(logits[0]), kept[0].tolist())


def load_catseg_method(
    folder: Path, *, device: str, dtype: str, memory_budget: int = DEFAULT_BUDGET
) -> tuple[CatSegMethod, str]:
    """The method from a checkpoint that `escnet weights convert catseg` wrote, and its hash.

    Raises:
        WeightsError: If it is damaged, of another kind, or without a tokenizer.
    """
    network = load_network(folder, CatSeg)
    if (templates := network.config.num_templates) != 1:
        raise WeightsError(
            f"{folder} correlates {templates} templates of each class name, and only weights of "
            "one template can be run here: convert others"
        )
    most = network.config.text_config.get("max_position_embeddings", _MOST_TOKENS)
    tokenize = load_tokenizer(folder, most, CLIP.reading)
    method = CatSegMethod(
        network, tokenize, device=device, dtype=dtype, memory_budget=memory_budget
    )
    return method, weights_hash(folder)
