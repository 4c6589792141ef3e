"""A network put together from published parts: towers and SAM.

Each part is loaded strictly, and leaves its record in the network's `config.origins`.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig, PreTrainedModel
from transformers.activations import ACT2FN

from escnet.errors import ConfigError, WeightsError
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.model.sam_block import SamBlock
from escnet.model.text import ClipText, SentenceText
from escnet.model.vision import ClipVision, PairedVision
from escnet.weights.catalog import origin_of, require_local, tensor_file_of
from escnet.weights.checkpoint import quiet_transformers
from escnet.weights.config_file import (
    CONFIG_FILE,
    check_settings,
    read_json_config,
    refuse_unusable,
)
from escnet.weights.origin import Origin
from escnet.weights.sam import SamParts, read_sam_parts
from escnet.weights.tensor_file import check_shapes, check_values, read_tensors, refuse

# Of a tower's settings those that change its answers and that no tensor's shape tells.
_TOLD_BY_NO_SHAPE = ("hidden_act", "num_attention_heads", "layer_norm_eps")


def assemble_clip(
    settings: str | EscNetConfig, *, clip: str | Path, sam: str | Path | None
) -> EscNet:
    """A network with CLIP's towers and SAM's blocks; what lies between them is untrained.

    What the CLIP's folder says of itself has to agree with the settings. A preset leaves open which
    activation functions the towers have: the folder's go into the network's settings.

    Args:
        settings: vit-b-16 or vit-l-14, or settings of a network with CLIP's towers.
        clip: A folder, or a hub identifier, of the CLIP that they describe.
        sam: A file, folder or hub identifier of SAM; None leaves the SAM blocks random, and the
            network's settings say so.

    Raises:
        WeightsError: If a part is missing, damaged, of another shape, or made for other settings.
        ConfigError: If the preset is unknown or has no CLIP towers.
    """
    is_preset = isinstance(settings, str)
    config = preset(settings) if isinstance(settings, str) else deepcopy(settings)
    if (config.vision, config.text) != ("clip", "clip"):
        shown = f"preset {settings!r}" if is_preset else "the network"
        raise ConfigError(f"{shown} has no CLIP towers: use vit-b-16 or vit-l-14")
    folder = require_local(clip)
    path = tensor_file_of(folder)
    _agree_with_clip(config, folder / CONFIG_FILE, may_adopt=is_preset)
    network = EscNet(config)
    vision_tower = cast("ClipVision", network.vision).tower
    text_tower = cast("ClipText", network.text).tower
    tensors = read_tensors(path)
    vision = {k: v for k, v in tensors.items() if k.startswith(("vision_model.", "visual_"))}
    text = {k: v for k, v in tensors.items() if k.startswith(("text_model.", "text_projection"))}
    install_tower(vision_tower, vision, str(path))
    install_tower(text_tower, text, str(path))
    return with_sam(network, [origin_of(path, part="CLIP", name=str(clip))], sam)


def assemble_paired(
    config: EscNetConfig,
    *,
    vit: Path,
    efficientnet: Path,
    sentence: Path,
    sam: Path | None,
) -> EscNet:
    """A network with the built-in model's towers, before training.

    Args:
        config: Settings with a paired vision tower and a sentence encoder.
        vit: Tensors of a transformers `Dinov2Model`.
        efficientnet: The published EfficientNet-Lite2 for PyTorch.
        sentence: Folder of a transformers `BertModel`, such as all-MiniLM-L6-v2.
        sam: Any published form of SAM; None leaves the SAM blocks random, and the network's
            settings say so.

    Raises:
        WeightsError: If a part is missing, damaged, or of another shape.
        ConfigError: If the settings name other towers.
    """
    network = EscNet(deepcopy(config))
    vision, language = paired_towers(network)
    install_tower(vision.vit, read_tensors(vit), str(vit))
    install_module(vision.net, read_tensors(efficientnet), str(efficientnet))
    sentence_file = tensor_file_of(sentence)
    text = {k: v for k, v in read_tensors(sentence_file).items() if _is_used_of_bert(k)}
    install_tower(language.tower, text, str(sentence_file))
    origins = [
        origin_of(vit, part="ViT-S/14"),
        origin_of(efficientnet, part="EfficientNet-Lite2"),
        origin_of(sentence_file, part="sentence encoder"),
    ]
    return with_sam(network, origins, sam)


def paired_towers(network: EscNet) -> tuple[PairedVision, SentenceText]:
    """The two towers of a network of the built-in model's kind.

    Raises:
        ConfigError: If it has others.
    """
    if not isinstance(network.vision, PairedVision) or not isinstance(network.text, SentenceText):
        raise ConfigError(
            f"vision {network.config.vision!r} with text {network.config.text!r} is not the "
            "built-in model's pair: choose paired and sentence"
        )
    return network.vision, network.text


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


def install_module(
    module: nn.Module, tensors: Mapping[str, Tensor], shown: str, *, partly: bool = False
) -> None:
    """Load tensors whose names are the module's own, all of them.

    Args:
        module: What they are loaded into.
        tensors: By the module's names.
        shown: Where they came from, for the message.
        partly: The tensors are only some of the module's.

    Raises:
        WeightsError: If one is missing, does not belong, has another shape, or is not finite.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if partly:
        expected = {name: shape for name, shape in expected.items() if name in tensors}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    check_shapes(shown, found, expected, cure="give the file that belongs to these settings")
    check_values(shown, tensors)
    module.load_state_dict(dict(tensors), strict=not partly)


def install_tower(tower: PreTrainedModel, tensors: Mapping[str, Tensor], shown: str) -> None:
    """Load a tower from tensors as the hub names them, all of them.

    Raises:
        WeightsError: If one is missing, does not belong, has another shape, or is not finite.
    """
    options = {"add_pooling_layer": False} if tower.config.model_type == "bert" else {}
    with quiet_transformers():  # it also translates the hub's names to those of its version
        loaded, info = type(tower).from_pretrained(
            None,
            config=tower.config,
            state_dict=dict(tensors),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    refuse(
        shown,
        missing=info["missing_keys"],
        unexpected=info["unexpected_keys"],
        misshaped={
            name: (tuple(found), tuple(expected))
            for name, found, expected in info["mismatched_keys"]
        },
        num_expected=len(tower.state_dict()),
        cure="give the file that belongs to these settings",
    )
    check_values(shown, tensors)
    tower.load_state_dict(loaded.state_dict())


def _agree_with_clip(config: EscNetConfig, path: Path, *, may_adopt: bool) -> None:
    """Hold the settings of both towers against what a CLIP's folder says of itself.

    Args:
        config: The network's; only an activation function is changed.
        path: The folder's config.json; tensors without one say nothing that could differ.
        may_adopt: The network takes the CLIP's activation function for its own.

    Raises:
        WeightsError: If the file is damaged, of another model, or says anything else.
    """
    record = read_json_config(path)
    if record is None:
        return
    if (model_type := record.get("model_type")) not in {None, CLIPConfig.model_type}:
        raise WeightsError(f"{path} is of a model of type {model_type!r}: give a CLIP")
    check_settings(record, path)
    with refuse_unusable(path):
        published = CLIPConfig.from_dict(record)
    for part, kind in (("vision_config", CLIPVisionConfig), ("text_config", CLIPTextConfig)):
        own, theirs = kind(**getattr(config, part)), getattr(published, part)
        for name in _TOLD_BY_NO_SHAPE:
            asked, found = getattr(own, name), getattr(theirs, name)
            if asked == found:
                continue
            if name != "hidden_act" or not may_adopt or found not in ACT2FN:
                raise WeightsError(
                    f"{path} has {name} {found!r} in its {part}, the network {asked!r}: "
                    "give the CLIP that belongs to these settings, or settings that say the same"
                )
            getattr(config, part)[name] = found


def _is_used_of_bert(name: str) -> bool:
    return not name.startswith("pooler.") and not name.endswith("position_ids")
