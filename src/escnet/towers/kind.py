"""What has to be known of a kind of vision-language towers, to build, to fill and to use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import transformers
from packaging.version import Version
from torch import nn

from escnet.errors import ConfigError
from escnet.towers.text_reading import PLAIN_READING, TextReading
from escnet.towers.tower import TextTower, Towers, VisionTower

_OF_NO_TOWER = ("dtype", "torch_dtype", "transformers_version", "architectures", "_name_or_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerSettings:
    """What a folder's config.json says of its two towers.

    Attributes:
        vision: The image tower's, one of transformers' configurations.
        text: The text tower's.
        joint_dim: Width of the joint space.
        shared: What both towers are to be told besides.
        taps: Blocks of the image tower whose outputs are the decoder's skips, in the decoder's
            order; None for a third and two thirds of its depth.
    """

    vision: Any
    text: Any
    joint_dim: int
    shared: Mapping[str, Any] = field(default_factory=dict)
    taps: tuple[int, int] | None = None

    @property
    def vision_config(self) -> dict[str, Any]:
        """What a network's settings say of the image tower."""
        return {**_own(self.vision), **self.shared}

    @property
    def text_config(self) -> dict[str, Any]:
        """What a network's settings say of the text tower."""
        return {**_own(self.text), **self.shared}

    @property
    def image_size(self) -> int:
        """Side of the square picture that the image tower was trained on, in pixels."""
        return int(self.vision.image_size)

    @property
    def patch_size(self) -> int:
        """Side of one patch of it, in pixels."""
        return int(self.vision.patch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerPart:
    """A module of the towers, and which of a folder's tensors it is filled with.

    Attributes:
        module: One of transformers' models, or any other.
        prefixes: How the names of its tensors begin in the folder.
        stripped: What is taken off these names; the rest is what the module calls them.
    """

    module: nn.Module
    prefixes: tuple[str, ...]
    stripped: str = ""

    def name_of(self, name: str) -> str | None:
        """What the module calls a tensor of the folder; None for one that is not its own."""
        return name.removeprefix(self.stripped) if name.startswith(self.prefixes) else None


@runtime_checkable
class MakeVision(Protocol):
    """Makes an image tower with random weights."""

    def __call__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> VisionTower: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerKind:
    """A kind of vision-language towers.

    Attributes:
        name: What transformers calls it, the `model_type` of a folder's config.json.
        title: What people call it.
        vision: Makes the image tower.
        text: Makes the text tower.
        settings_of: Reads a folder's config.json; whatever it raises is the file's fault.
        parts: Which modules of the towers a folder's tensors fill.
        reading: How the text tower wants its texts.
        even_cosine: The correlation that a name has where it is as likely as not.
        transformers: The first version of transformers that has the networks.
    """

    name: str
    title: str
    vision: MakeVision
    text: Callable[[dict[str, Any]], TextTower]
    settings_of: Callable[[Mapping[str, Any]], TowerSettings]
    parts: Callable[[Towers], Sequence[TowerPart]]
    reading: TextReading = PLAIN_READING
    even_cosine: float
    transformers: str = "4.57"

    def check_transformers(self) -> None:
        """Refuse a transformers that lacks the networks.

        Raises:
            ConfigError: If it does.
        """
        if Version(installed := transformers.__version__) < Version(self.transformers):
            raise ConfigError(
                f"{self.title} needs transformers {self.transformers} or later, and {installed} is "
                f"installed: run pip install 'transformers>={self.transformers},<6'"
            )

    def build(
        self,
        vision_config: dict[str, Any],
        text_config: dict[str, Any],
        *,
        taps: tuple[int, int],
    ) -> Towers:
        """Both towers with random weights.

        Raises:
            ConfigError: If the taps are not two blocks of the image tower.
        """
        return Towers(self.vision(vision_config, taps=taps), self.text(text_config))


def unprojected_settings(config: Any) -> TowerSettings:
    """The settings of towers that lead to the joint space without a map, which has their width.

    Args:
        config: Of both towers, of transformers' class.
    """
    vision = config.vision_config
    return TowerSettings(vision=vision, text=config.text_config, joint_dim=vision.hidden_size)


def whole_towers(
    vision: tuple[str, ...], text: tuple[str, ...]
) -> Callable[[Towers], list[TowerPart]]:
    """The `parts` of a kind whose files keep each tower's names behind prefixes of its own.

    Args:
        vision: The prefixes of the image tower's tensors.
        text: Those of the text tower's.
    """

    def parts(towers: Towers) -> list[TowerPart]:
        return [
            TowerPart(module=towers.vision.tower, prefixes=vision),
            TowerPart(module=towers.text.tower, prefixes=text),
        ]

    return parts


def _own(config: Any) -> dict[str, Any]:
    """What a configuration says that is not the default, whatever its file was stored in.

    The dtype of the file is none of the tower's: everything is computed from float32 weights.
    """
    return {
        name: value for name, value in config.to_diff_dict().items() if name not in _OF_NO_TOWER
    }
