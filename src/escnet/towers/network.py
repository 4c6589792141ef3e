"""What the network of every structure is: two towers, and logits of class names behind them.

Sizes: B pictures, N class names, T tokens, D joint space.
"""

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from escnet.towers.patches import Patches


@runtime_checkable
class Answer(Protocol):
    """What one pass yields, and perhaps more."""

    @property
    def logits(self) -> Float[Tensor, "B N _ _"]:
        """Of every class name."""


class NetworkConfig(PretrainedConfig):
    """Settings of a structure's network; what is said here, every structure has.

    Attributes:
        image_size: Side of the square picture that the image tower sees, in pixels.
        patch_size: Side of one patch of that picture, in pixels.
        joint_dim: Width D of the joint space.
        template: The text that a class name is put into.
        max_classes: At inference, names beyond this number are dropped for a picture, those
            with the lowest correlation first; 0 for never.
        vision_config: The image tower's own configuration, as transformers names its fields.
        text_config: The text tower's.
        trained_on: Class names that the weights have seen labelled.
        origins: Where each part of the weights came from.
    """

    if TYPE_CHECKING:  # transformers would make fields of a dataclass of them
        image_size: int
        patch_size: int
        joint_dim: int
        template: str
        max_classes: int
        vision_config: dict[str, Any]
        text_config: dict[str, Any]
        trained_on: Sequence[str]
        origins: Sequence[dict[str, Any]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @property
    def grid_size(self) -> int:
        """Patches along one side: h = w."""
        return self.image_size // self.patch_size

    @property
    @abstractmethod
    def bytes_per_class(self) -> int:
        """Working memory that one class name of one picture needs at the widest place, in bytes."""

    @classmethod
    def setting_names(cls) -> list[str]:
        """What a structure can be set to, its own settings after those that it inherits."""
        names: dict[str, None] = {}
        for kind in reversed(cls.__mro__):
            if issubclass(kind, NetworkConfig) and "__init__" in vars(kind):
                of_kind = inspect.signature(kind).parameters.values()
                names.update({one.name: None for one in of_kind if one.kind is one.KEYWORD_ONLY})
        return list(names)


class Network(PreTrainedModel):
    """Image and text embeddings in, a logit for every class name and place out.

    Attributes:
        vision: From a picture to its patches.
        text: From tokens to text embeddings.
    """

    config: NetworkConfig
    vision: nn.Module
    text: nn.Module
    main_input_name = "image"

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: every module starts itself, and checkpoints are complete."""

    def encode_text(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        """Text embeddings of tokenised class names.

        Args:
            token: Padded token indices.
            is_token: 1 for tokens, 0 for padding.
        """
        return self.text(token, is_token)

    @abstractmethod
    def segment(
        self,
        patches: Patches,
        text_embedding: Float[Tensor, "N *P D"],
        class_chunk: int | None = None,
    ) -> Answer:
        """The network after its towers.

        Args:
            patches: What the vision tower gave, now or earlier.
            text_embedding: One embedding for each class name.
            class_chunk: Class names worked on at a time, which bounds the memory and does not
                change the result; None for all.
        """
