"""What the network of every structure is: two towers, and logits of class names behind them.

Sizes: B pictures, N class names, T tokens, D joint space.
"""

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from escnet.errors import ConfigError
from escnet.towers.patches import Patches
from escnet.towers.tower import TextTower, VisionTower

Value = TypeVar("Value")

FORMAT = 1  # of a checkpoint's files; one that is to be read otherwise has a higher number


@runtime_checkable
class NetworkOutput(Protocol):
    """The output of a network of any structure; each structure's own has more beside the logits."""

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
        max_classes: At exact inference, names beyond this number are dropped for a picture, those
            with the lowest correlation first; 0 for never.
        rejection: At inference that is not exact, how many labels go on after each look at the
            maps (`escnet.model.pruning`); empty for all.
        vision_config: The image tower's own configuration, as transformers names its fields.
        text_config: The text tower's.
        trained_on: Class names that the weights have seen labelled.
        origins: Where each part of the weights came from.
        format_version: Of the checkpoint's files.
        free_settings: Those that change no tensor that two networks share, or have a say at
            inference alone: networks that differ in them alone have a mean.

    Raises:
        ConfigError: If the checkpoint is of a later format.
    """

    free_settings = frozenset({"image_size", "max_classes", "rejection"})

    if TYPE_CHECKING:  # transformers would make fields of a dataclass of them
        image_size: int
        patch_size: int
        joint_dim: int
        template: str
        max_classes: int
        rejection: tuple[int, ...]
        vision_config: dict[str, Any]
        text_config: dict[str, Any]
        trained_on: Sequence[str]
        origins: Sequence[dict[str, Any]]

    def __init__(self, *, format_version: int = FORMAT, **kwargs: Any) -> None:
        if format_version > FORMAT:
            raise ConfigError(
                f"the checkpoint has the format {format_version}, and this version reads {FORMAT}: "
                "install a later version of escnet"
            )
        self.format_version = format_version
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
            if issubclass(kind, NetworkConfig) and kind is not NetworkConfig:
                of_kind = inspect.signature(kind).parameters.values()
                names.update({one.name: None for one in of_kind if one.kind is one.KEYWORD_ONLY})
        return list(names)


def of_preset(name: str, presets: Mapping[str, Value]) -> Value:
    """What presets hold under a name.

    Raises:
        ConfigError: If there is no preset of that name.
    """
    if name not in presets:
        raise ConfigError(f"preset {name!r} is unknown: choose from {', '.join(sorted(presets))}")
    return presets[name]


class Network(PreTrainedModel):
    """Image and text embeddings in, a logit for every class name and place out.

    Attributes:
        vision: From a picture to its patches.
        text: From tokens to text embeddings.
        tokenizer_files: Which files of its tokenizer a checkpoint's folder may hold.
    """

    config: NetworkConfig
    vision: VisionTower
    text: TextTower
    main_input_name = "image"
    tokenizer_files: tuple[str, ...] = ("tokenizer.json", "tokenizer_config.json")

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
    def first_maps(
        self, patches: Patches, text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "B N h w"]:
        """How well each class name fits each patch before any refinement: what rejection looks at.

        Args:
            patches: What the vision tower gave.
            text_embedding: One embedding for each class name.
        """

    @abstractmethod
    def segment(
        self,
        patches: Patches,
        text_embedding: Float[Tensor, "N *P D"],
        class_chunk: int | None = None,
    ) -> NetworkOutput:
        """The network after its towers.

        Args:
            patches: What the vision tower gave, now or earlier.
            text_embedding: One embedding for each class name.
            class_chunk: Class names worked on at a time, which bounds the memory and does not
                change the result; None for all.
        """
