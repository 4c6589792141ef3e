"""A network put together from published parts: towers and SAM.

Each part is loaded strictly, and leaves its record in the network's `config.origins`.
"""

from copy import deepcopy
from pathlib import Path
from typing import cast

from transformers.activations import ACT2FN

from escnet.errors import ConfigError, WeightsError
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.model.sam_block import SamBlock
from escnet.towers.network import NetworkConfig
from escnet.towers.tower import Towers
from escnet.weights.install import install_module
from escnet.weights.origin import Origin
from escnet.weights.sam import SamParts, read_sam_parts
from escnet.weights.tower_folder import TowerFolder

FROM_TOWERS = "from-towers"  # in the place of a preset: what the towers' folder says
_GRID = 24  # patches along one side, as in both of the paper's networks

# Of a tower's settings those that change its answers and that no tensor's shape tells.
_TOLD_BY_NO_SHAPE = (
    "hidden_act", "num_attention_heads", "layer_norm_eps",
    "family", "rope_side", "rope_start", "image_mean", "image_std",
)  # fmt: skip


def assemble(settings: str | EscNetConfig, *, towers: str | Path, sam: str | Path | None) -> EscNet:
    """A network with published towers and SAM's blocks; what lies between them is untrained.

    What the towers' folder says of itself has to agree with the settings. A preset leaves open
    which activation functions the towers have: the folder's go into the network's settings.

    Args:
        settings: A preset, "from-towers" for the paper's network on towers of any kind and size, or
            a network's settings.
        towers: A folder, or a hub identifier, with both towers.
        sam: A file, folder or hub identifier of SAM; None leaves the SAM blocks random, and the
            network's settings say so.

    Raises:
        WeightsError: If a part is missing, damaged, of another shape, or made for other settings.
        ConfigError: If the preset is unknown, or there is a SAM and the network has no SAM blocks.
    """
    folder = TowerFolder.read(towers)
    if settings == FROM_TOWERS:
        config = config_for(folder)
    else:
        is_preset = isinstance(settings, str)
        config = preset(settings) if isinstance(settings, str) else deepcopy(settings)
        agree_with_towers(config, folder, may_adopt=is_preset)
    network = EscNet(config)
    folder.fill(Towers(network.vision, network.text))
    return with_sam(network, [folder.origin()], sam)


def config_for(folder: TowerFolder) -> EscNetConfig:
    """The paper's settings on the towers of a folder, read on a grid of the paper's size."""
    settings = folder.settings
    depth = settings.vision.num_hidden_layers
    return EscNetConfig(
        towers=folder.kind.name,
        vision_config=settings.vision_config,
        text_config=settings.text_config,
        taps=settings.taps or (max(0, depth // 3 - 1), max(0, 2 * depth // 3 - 1)),
        image_size=_GRID * settings.patch_size,
        patch_size=settings.patch_size,
        joint_dim=settings.joint_dim,
    )


def agree_with_towers(config: NetworkConfig, folder: TowerFolder, *, may_adopt: bool) -> None:
    """Hold a network's settings of both towers against what a folder says of them.

    Args:
        config: The network's; only an activation function is changed.
        folder: Of the towers.
        may_adopt: The network takes the folder's activation functions for its own.

    Raises:
        WeightsError: If the folder's towers are of another kind, or it says anything else.
    """
    if (kind := getattr(config, "towers", "clip")) != folder.kind.name:
        raise WeightsError(
            f"{folder.path} holds towers of the kind {folder.kind.name}, the network has {kind}: "
            f"give others, or the settings {FROM_TOWERS!r}"
        )
    own = folder.kind.settings_of(
        {
            "vision_config": {"model_type": folder.settings.vision.model_type}
            | config.vision_config,
            "text_config": {"model_type": folder.settings.text.model_type} | config.text_config,
            "projection_dim": config.joint_dim,
        }
    )
    for part in ("vision", "text"):
        for name in _TOLD_BY_NO_SHAPE:
            asked, theirs = (
                getattr(getattr(one, part), name, None) for one in (own, folder.settings)
            )
            if asked == theirs:
                continue
            if name != "hidden_act" or not may_adopt or theirs not in ACT2FN:
                raise WeightsError(
                    f"{folder.config_file} has {name} {theirs!r} in its {part}_config, the "
                    f"network {asked!r}: "
                    "give the towers that belong to these settings, or settings that say the same"
                )
            getattr(config, f"{part}_config")[name] = theirs


def with_sam(network: EscNet, origins: list[Origin], sam: str | Path | None) -> EscNet:
    """The network with its SAM, if there is one, and settings that say what it holds.

    Args:
        network: With its towers.
        origins: Of these.
        sam: Any published form of SAM; None leaves the SAM blocks random.

    Raises:
        ConfigError: If there is a SAM and the network has no SAM blocks.
        WeightsError: If it is missing, damaged, or of another shape.
    """
    if sam is not None:
        origins = [*origins, install_sam(network, read_sam_parts(sam))]
    elif network.config.sam == "pretrained":
        network.config.sam = "random"
    network.config.origins = tuple(origin.to_dict() for origin in origins)
    return network.eval()


def install_sam(network: EscNet, parts: SamParts) -> Origin:
    """Give every SAM block its copy of SAM's decoder, and all of them the one prompt encoder.

    The network's settings call its SAM blocks pretrained from then on.

    Raises:
        ConfigError: If the network has no SAM blocks.
        WeightsError: If a shape differs.
    """
    if network.prompt_encoder is None:
        raise ConfigError("sam 'none' leaves no block to load SAM into: choose pretrained")
    install_module(network.prompt_encoder, parts.prompt_encoder, "SAM")
    for block in network.blocks:
        sam = cast("SamBlock", block.sam)
        wanted = tuple(f"layers.{index}." for index in sam.two_way.layers)
        two_way = {k: v for k, v in parts.two_way.items() if k.startswith(wanted)}
        install_module(sam.two_way, two_way, "SAM")
        install_module(sam, {"output_tokens": parts.output_tokens}, "SAM", partly=True)
        if sam.mask_head is not None:
            install_module(sam.mask_head, parts.mask_head, "SAM")
    network.config.sam = "pretrained"
    return parts.origin
