"""What the methods of a network with towers share: tokenizer, device, precision, memory budget.

Sizes: N texts, M of them kept, D the width of the joint space.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from escnet.inference.label_maps.published_resize import View
from escnet.inference.machine.device import chosen_device, chosen_dtype
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.inference.methods.method import ViewLogits
from escnet.inference.methods.tokens import Tokenize, encode_in_parts, text_keys
from escnet.model.pruning import Rejection
from escnet.towers.network import Network
from escnet.towers.patches import Patches
from escnet.towers.tower import TextTower

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


class NetworkMethod(ABC, Generic[AnyNetwork]):
    """A network with its tokenizer on a device, ready for views.

    Attributes:
        network: The network, in evaluation mode.
        tokenize: Of its text tower.
        device: Where it computes.
        dtype: What matrix products are computed in.
        memory_budget: Bytes of working memory for the class names; it bounds the memory and does
            not change the result, but for rounding.
    """

    name: str
    share_prior = (
        0.0  # what the network's settings say of it; see `escnet.inference.label_maps.labelling`
    )

    def __init__(
        self,
        network: AnyNetwork,
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
        self.tokenize = tokenize

    @property
    def template(self) -> str:
        """Sentence that a class name is put into."""
        return self.network.config.template

    @property
    def rejection(self) -> tuple[int, ...]:
        """How many labels go on after each look at the maps; empty for all."""
        return tuple(self.network.config.rejection)

    @property
    @abstractmethod
    def view_size(self) -> int:
        """Side of the square that a view is brought to, in pixels."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """What moves a pixel besides weights, names, template and size."""

    @property
    def num_tokens(self) -> int:
        """How many tokens the text tower knows."""
        return num_tokens_of(self.network)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        """The embeddings of texts that the template has been applied to.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """

        def encode(some: Sequence[str]) -> Float32[np.ndarray, "n D"]:
            token, is_token = (torch.from_numpy(part) for part in self.tokenize(some))
            embedding = self.network.encode_text(token.to(self.device), is_token.to(self.device))
            return as_array(embedding)

        return encode_in_parts(texts, encode)

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        """For each text a hash of all that its embedding depends on besides the weights.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """
        return text_keys(self.tokenize(texts), tower_settings(self.network.text, self.device))

    @torch.inference_mode()
    def encode_views(self, views: Sequence[View]) -> list[Patches]:
        """Each view as the vision tower sees it."""
        image = torch.from_numpy(np.stack([self._image(view) for view in views]))
        with precision(self.device, self.dtype):
            return self.network.vision(image.to(self.device)).each()

    @torch.inference_mode()
    def logits(
        self,
        views: Sequence[Patches],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None = None,
    ) -> list[ViewLogits]:
        """Of each view the logits of the texts that were kept, and which these are.

        Args:
            views: As `encode_views` gave them.
            text_embedding: One embedding for each text.
            owner: The label of each text, whose unlikely ones are rejected early; None for exact
                work.
        """
        rejection = None
        if owner is not None and self.rejection:
            rejection = Rejection(self.rejection, owner)
        text = torch.from_numpy(text_embedding).to(self.device)
        with precision(self.device, self.dtype):
            return [self.of_patches(patches, text, rejection) for patches in views]

    @abstractmethod
    def _image(self, view: View) -> Float32[np.ndarray, "3 side side"]:
        """A view as the network's square input, in [0, 1]."""

    @abstractmethod
    def of_patches(
        self,
        patches: Patches,
        text_embedding: Float[Tensor, "N D"],
        rejection: Rejection | None = None,
    ) -> ViewLogits:
        """What the network says of one view after its towers."""


def left_of_view(
    logits: Float[Tensor, "1 M h w"], index: Int[Tensor, "1 M"], rejection: Rejection
) -> ViewLogits:
    """The logits of one view after rejection, without labels that lost some of their texts."""
    texts = index[0].tolist()
    rows = rejection.whole(texts)
    return ViewLogits(as_array(logits[0][rows]), [texts[row] for row in rows])


def precision(device: torch.device, dtype: str) -> torch.autocast:
    """What matrix products inside are computed in."""
    return torch.autocast(device.type, chosen_dtype(dtype), enabled=dtype != "float32")


def as_array(values: Float[Tensor, "..."]) -> Float32[np.ndarray, "..."]:
    """What a network gives, in main memory and single precision."""
    return values.float().cpu().numpy()


def tower_settings(tower: TextTower, device: torch.device) -> dict[str, object]:
    """What moves a text embedding besides the weights and the tokens."""
    config = tower.tower.config.to_dict()
    return {"tower": type(tower).__name__, "config": config, "device": device.type}


def num_tokens_of(network: nn.Module) -> int:
    """How many tokens its text tower knows: the rows of its largest table."""
    tables = (module for module in network.modules() if isinstance(module, nn.Embedding))
    return max((table.num_embeddings for table in tables), default=0)
