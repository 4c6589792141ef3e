"""SAM whole, image encoder and mask decoder, as transformers' `SamModel`.

The training-free methods ask SAM itself for masks, so they need all of it; ESC-Net keeps two parts
alone (`weights/sam.py`). Read are the folder that transformers saves, the authors' `.pth` file,
and, where the image is encoded elsewhere, a file of the prompt encoder and mask decoder alone.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import SamMaskDecoderConfig, SamVisionConfig

from escnet.errors import WeightsError
from escnet.weights.catalog import require_local
from escnet.weights.config_file import (
    CONFIG_FILE,
    check_settings,
    read_json_config,
    refuse_unusable,
)
from escnet.weights.sam import read_all_sam_tensors, read_sam_tensors
from escnet.weights.tensor_file import check_shapes, check_values

_SHARED = "shared_image_embedding.positional_embedding"
_TIED = "prompt_encoder.shared_embedding.positional_embedding"

# The authors' names -> transformers', applied in this order.
_DECODER_RENAMES = (
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", _TIED),
    ("point_embeddings", "point_embed"),
    ("mask_downscaling.0", "mask_embed.conv1"),
    ("mask_downscaling.1", "mask_embed.layer_norm1"),
    ("mask_downscaling.3", "mask_embed.conv2"),
    ("mask_downscaling.4", "mask_embed.layer_norm2"),
    ("mask_downscaling.6", "mask_embed.conv3"),
    ("norm_final_attn", "layer_norm_final_attn"),
    *((f".norm{index}.", f".layer_norm{index}.") for index in range(1, 5)),
    ("output_upscaling.0", "upscale_conv1"),
    ("output_upscaling.1", "upscale_layer_norm"),
    ("output_upscaling.3", "upscale_conv2"),
)
_PERCEPTRON_RENAMES = (
    ("layers.0", "proj_in"), ("layers.1", "layers.0"), ("layers.2", "proj_out"),
)  # fmt: skip
_ENCODER_RENAMES = (
    ("image_encoder.", "vision_encoder."),
    (".patch_embed.proj.", ".patch_embed.projection."),
    (".blocks.", ".layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".neck.0.", ".neck.conv1."),
    (".neck.1.", ".neck.layer_norm1."),
    (".neck.2.", ".neck.conv2."),
    (".neck.3.", ".neck.layer_norm2."),
)
_HEADS = {768: 12, 1024: 16, 1280: 16}  # of ViT-B, L, H by width
_AUTHORS_NORM_EPS = 1e-5


def load_sam_model(source: str | Path) -> SamModel:
    """SAM with its image encoder, on the processor, in float32.

    Args:
        source: A folder that transformers' `SamModel` wrote, a hub identifier, or the authors'
            checkpoint file.

    Raises:
        WeightsError: If it is another family's, damaged, or lacks a part.
    """
    path = require_local(source)
    decoder = _decoder_state(read_sam_tensors(path))  # refuses what is not SAM
    everything, file = read_all_sam_tensors(path)
    stored = {
        _renamed(name, _ENCODER_RENAMES): tensor
        for name, tensor in everything.items()
        if name.startswith(("vision_encoder.", "image_encoder."))
    }
    check_values(str(file), stored)
    encoder = {name: tensor.to(torch.float32, copy=True) for name, tensor in stored.items()}
    if not encoder:
        raise WeightsError(
            f"{file} holds no image encoder of SAM: give sam_vit_b, _l or _h, or facebook/sam-vit-*"
        )
    settings = None if path.is_file() else read_json_config(path / CONFIG_FILE)
    described_in = file if settings is None else path / CONFIG_FILE
    check_settings(settings or {}, described_in)
    with refuse_unusable(described_in):
        if settings is None:
            config = SamConfig(
                vision_config=_encoder_config(file, encoder).to_dict(),
                mask_decoder_config=SamMaskDecoderConfig(layer_norm_eps=_AUTHORS_NORM_EPS),
            )
        else:
            config = SamConfig.from_dict(settings)
        model = SamModel(config)
    tensors = encoder | decoder
    found, expected = (
        {name: tuple(tensor.shape) for name, tensor in some.items()}
        for some in (tensors, model.state_dict())
    )
    check_shapes(str(file), found, expected, cure="is it SAM's ViT-B, L or H?")
    check_values(str(file), tensors)
    model.load_state_dict(tensors)
    return model.eval()


def load_sam_decoder(source: str | Path) -> SamModel:
    """SAM's prompt encoder and mask decoder; its image encoder is a stand-in, not to be run.

    Args:
        source: Any form of SAM, also a file of these two parts alone, such as MobileSAM's.

    Raises:
        WeightsError: If it is another family's, damaged, or lacks a tensor.
    """
    decoder = _decoder_state(read_sam_tensors(source))
    check_values(str(source), decoder)
    stand_in = SamVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = SamModel(
        SamConfig(
            vision_config=stand_in.to_dict(),
            mask_decoder_config=SamMaskDecoderConfig(layer_norm_eps=_AUTHORS_NORM_EPS),
        )
    )
    model.load_state_dict(model.state_dict() | decoder)
    return model.eval()


def _decoder_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The 137 tensors by transformers' names, the shared one twice."""
    state = {}
    for name, tensor in tensors.items():
        new = _renamed(name, _DECODER_RENAMES)
        if "_mlps." in new or "_head." in new:
            # One alone: each would otherwise be renamed twice.
            new = next((new.replace(old, to) for old, to in _PERCEPTRON_RENAMES if old in new), new)
        state[new] = tensor
    return state | {_SHARED: state[_TIED]}


def _renamed(name: str, renames: tuple[tuple[str, str], ...]) -> str:
    for old, new in renames:
        name = name.replace(old, new)
    return name


def _encoder_config(file: Path, encoder: Mapping[str, Tensor]) -> SamVisionConfig:
    """The sizes of the authors' image encoder, read off its tensors."""
    patch = encoder.get("vision_encoder.patch_embed.projection.weight")
    if patch is None or patch.shape[0] not in _HEADS:
        raise WeightsError(
            f"{file} holds an image encoder that is not SAM's ViT (MobileSAM's, perhaps): "
            "give sam_vit_b, _l or _h"
        )
    layers = {
        int(found[1]) for name in encoder if (found := re.search(r"encoder\.layers\.(\d+)\.", name))
    }
    width, side = patch.shape[0], encoder["vision_encoder.pos_embed"].shape[1]
    reach = {
        index: encoder[f"vision_encoder.layers.{index}.attn.rel_pos_h"].shape[0] for index in layers
    }
    return SamVisionConfig(
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=_HEADS[width],
        mlp_dim=4 * width,
        global_attn_indexes=[index for index in sorted(layers) if reach[index] == 2 * side - 1],
    )
