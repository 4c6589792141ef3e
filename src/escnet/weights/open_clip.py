"""Folders in OpenCLIP's layout: what their settings say, as our kinds of towers say it.

`open_clip_config.json` says what the towers are. A plain ViT with a plain text tower, as LAION,
MetaCLIP, DataComp and DFN publish them, is a CLIP like any other once its tensors have
transformers' names (`escnet.weights.open_clip_tensors`). Image towers of timm are
`escnet.towers.open_clip`'s.

Whoever only asks need not import PyTorch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escnet.errors import WeightsError
from escnet.weights.config_file import read_json_config, refuse_unusable

OPEN_CLIP_FILE = "open_clip_config.json"
OPEN_CLIP_TENSORS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_A_CLIP = "openai/clip-vit-base-patch16 or laion/CLIP-ViT-B-16-laion2B-s34B-b88K"
_CLIPS_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIPS_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmTower:
    """An image tower of timm, as `escnet.towers.open_clip` builds it.

    Attributes:
        settings: Its own.
        pool: What OpenCLIP may call its pooling.
        proj: What OpenCLIP may call its way to the joint space.
        mean: Of the pixels, where the folder does not say.
        std: Their deviation.
    """

    settings: Mapping[str, Any]
    pool: tuple[str, ...]
    proj: tuple[str, ...]
    mean: tuple[float, ...] = _CLIPS_MEAN
    std: tuple[float, ...] = _CLIPS_STD


def eva02(width: int, layers: int, patch: int, side: int) -> TimmTower:
    """EVA02-CLIP's, with heads of 64 values."""
    settings = {
        "model_type": "rotary_vit",
        "family": "eva02",
        "hidden_size": width,
        "intermediate_size": width * 8 // 3,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "patch_size": patch,
        "image_size": side,
        "rope_side": 16,
        "layer_norm_eps": 1e-6,
    }
    return TimmTower(settings=settings, pool=("token",), proj=("",))


def pe_core(
    width: int,
    layers: int,
    patch: int,
    side: int,
    *,
    inner: int | None = None,
    heads: int | None = None,
    rope_start: int = 1,
) -> TimmTower:
    """PE-Core's, with heads of 64 values unless said otherwise."""
    settings = {
        "model_type": "rotary_vit",
        "family": "pe_core",
        "hidden_size": width,
        "intermediate_size": inner or 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads or width // 64,
        "patch_size": patch,
        "image_size": side,
        "rope_side": side // patch,
        "rope_start": rope_start,
        "class_token": rope_start == 1,  # the largest has neither
        "layer_norm_eps": 1e-5,
    }
    return TimmTower(settings=settings, pool=("map",), proj=("",), mean=_HALF, std=_HALF)


def convnext(*sizes: int, depths: tuple[int, ...] = (3, 3, 27, 3), eps: float = 1e-6) -> TimmTower:
    """ConvNeXt's, with the channels of its stages."""
    settings = {
        "model_type": "convnext_clip",
        "hidden_sizes": sizes,
        "depths": depths,
        "layer_norm_eps": eps,
    }
    return TimmTower(settings=settings, pool=("", "avg"), proj=("linear", "mlp"))


# By timm's names.
TIMM_TOWERS: dict[str, TimmTower] = {
    "eva02_base_patch16_clip_224": eva02(768, 12, 16, 224),
    "eva02_large_patch14_clip_224": eva02(1024, 24, 14, 224),
    "eva02_large_patch14_clip_336": eva02(1024, 24, 14, 336),
    "vit_pe_core_tiny_patch16_384": pe_core(192, 12, 16, 384),
    "vit_pe_core_small_patch16_384": pe_core(384, 12, 16, 384),
    "vit_pe_core_base_patch16_224": pe_core(768, 12, 16, 224),
    "vit_pe_core_large_patch14_336": pe_core(1024, 24, 14, 336),
    "vit_pe_core_gigantic_patch14_448": pe_core(
        1536, 50, 14, 448, inner=8960, heads=16, rope_start=0
    ),
    "convnext_tiny": convnext(96, 192, 384, 768, depths=(3, 3, 9, 3)),
    "convnext_small": convnext(96, 192, 384, 768),
    "convnext_base": convnext(128, 256, 512, 1024),
    "convnext_large": convnext(192, 384, 768, 1536),
    "convnext_xlarge": convnext(256, 512, 1024, 2048),
    "convnext_xxlarge": convnext(384, 768, 1536, 3072, depths=(3, 4, 30, 3), eps=1e-5),
}

# Those that are not read, by how timm's names of them begin.
_OTHERS = {
    "eva02_enormous": "EVA02-CLIP E/14",
    "eva_": "EVA-01 CLIP",
    "fastvit": "MobileCLIP",
    "vit_base_mci": "MobileCLIP B",
    "vitamin": "ViTamin",
    "swin": "a CLIP with a Swin transformer",
    "vit_gopt": "SigLIP",
    "vit_so": "SigLIP",
}
_SIGLIP = re.compile(r"vit_\w+_siglip")

# What a plain tower's settings may say besides its sizes: these values, which are the defaults.
_PLAIN_VISION = {
    "ls_init_value": None,
    "attentional_pool": False,
    "no_ln_pre": False,
    "pos_embed_type": "learnable",
    "final_ln_after_pool": False,
    "pool_type": "tok",
    "act_kwargs": None,
    "norm_kwargs": None,
}
_PLAIN_TEXT = {
    "hf_model_name": None,
    "ls_init_value": None,
    "embed_cls": False,
    "no_causal_mask": False,
    "final_ln_after_pool": False,
    "pool_type": "argmax",
    "proj_bias": False,
    "proj_type": "linear",
    "act_kwargs": None,
    "norm_kwargs": None,
}
_PLAIN_BLOCKS = {
    "block_type": None,
    "qk_norm": False,
    "scaled_cosine_attn": False,
    "scale_heads": False,
    "scale_attn_inner": False,
    "scale_attn": False,
    "scale_fc": False,
}


def read_open_clip(folder: Path, shown: str | None = None) -> dict[str, Any] | None:
    """What a folder's `open_clip_config.json` describes, as a config.json of our kinds of towers.

    Args:
        folder: On this machine.
        shown: What errors call it.

    Returns:
        With `model_type`, `vision_config`, `text_config` and `projection_dim`; None where there is
        no such file.

    Raises:
        WeightsError: If these towers are not read: with their name, and what to give instead.
    """
    record = read_json_config(folder / OPEN_CLIP_FILE)
    if record is None:
        return None
    name = shown or str(folder)
    with refuse_unusable(folder / OPEN_CLIP_FILE, cure="copy it again"):
        return _translated(record["model_cfg"], record.get("preprocess_cfg") or {}, name)


def _translated(model: Mapping[str, Any], pixels: Mapping[str, Any], shown: str) -> dict[str, Any]:
    vision, text = model["vision_cfg"], model["text_cfg"]
    activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    if "multimodal_cfg" in model:
        raise _unread(shown, "CoCa")
    timm_name = vision.get("timm_model_name")
    if timm_name is not None:
        kind, tower = "open_clip", _timm_settings(vision, pixels, shown)
    else:
        kind, tower = "clip", _plain_settings(vision, pixels, shown)
        tower["hidden_act"] = activation
    return {
        "model_type": kind,
        "vision_config": tower,
        "text_config": _text_settings(text, shown) | {"hidden_act": activation},
        "projection_dim": model["embed_dim"],
    }


def _timm_settings(
    vision: Mapping[str, Any], pixels: Mapping[str, Any], shown: str
) -> dict[str, Any]:
    """The settings of an image tower of timm."""
    name = str(vision["timm_model_name"])
    known = TIMM_TOWERS.get(name)
    if known is None:
        title = next((title for start, title in _OTHERS.items() if name.startswith(start)), None)
        if _SIGLIP.match(name):
            title = "SigLIP"
        raise _unread(shown, title or f"a CLIP with timm's {name}")
    pool, proj = vision.get("timm_pool", "avg") or "", vision.get("timm_proj", "linear") or ""
    for key, value, read in (("timm_pool", pool, known.pool), ("timm_proj", proj, known.proj)):
        if value not in read:
            raise _unread(shown, f"a CLIP with timm's {name} and {key} {value!r}")
    if vision.get("timm_proj_bias"):
        raise _unread(shown, f"a CLIP with timm's {name} and timm_proj_bias")
    settings = {"image_size": vision.get("image_size", 224), **known.settings}
    if settings["model_type"] == "convnext_clip":
        settings["head"] = proj
    settings["image_mean"] = pixels.get("mean", known.mean)
    settings["image_std"] = pixels.get("std", known.std)
    return settings


def _plain_settings(
    vision: Mapping[str, Any], pixels: Mapping[str, Any], shown: str
) -> dict[str, Any]:
    """The settings of a plain ViT, as transformers names them."""
    layers = vision.get("layers", 12)
    if isinstance(layers, list):
        raise _unread(shown, "a CLIP with a ResNet")
    _refuse_special(vision, _PLAIN_VISION | _PLAIN_BLOCKS, "image", shown)
    for key, own in (("mean", _CLIPS_MEAN), ("std", _CLIPS_STD)):
        given = pixels.get(key, own)
        if any(abs(a - b) > 1e-4 for a, b in zip(given, own, strict=True)):
            raise _unread(shown, f"a CLIP whose pixels have the {key} {given}")
    width = vision.get("width", 768)
    return {
        "hidden_size": width,
        "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
        "num_hidden_layers": layers,
        "num_attention_heads": width // vision.get("head_width", 64),
        "image_size": vision.get("image_size", 224),
        "patch_size": vision.get("patch_size", 16),
    }


def _text_settings(text: Mapping[str, Any], shown: str) -> dict[str, Any]:
    """The settings of a plain text tower, as transformers names them."""
    if text.get("hf_model_name"):
        raise _unread(shown, f"a CLIP with the text tower {text['hf_model_name']}")
    _refuse_special(text, _PLAIN_TEXT | _PLAIN_BLOCKS, "text", shown)
    width, words = text.get("width", 512), text.get("vocab_size", 49_408)
    return {
        "hidden_size": width,
        "intermediate_size": int(width * text.get("mlp_ratio", 4.0)),
        "num_hidden_layers": text.get("layers", 12),
        "num_attention_heads": text.get("heads", 8),
        "vocab_size": words,
        "max_position_embeddings": text.get("context_length", 77),
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
    }


def _refuse_special(
    settings: Mapping[str, Any], plain: Mapping[str, Any], tower: str, shown: str
) -> None:
    for key, value in plain.items():
        if (given := settings.get(key, value)) != value:
            raise _unread(shown, f"a CLIP whose {tower} tower has {key} {given!r}")


def _unread(shown: str, name: str) -> WeightsError:
    instead = "google/siglip-base-patch16-224" if name == "SigLIP" else _A_CLIP
    return WeightsError(
        f"{shown} holds {name} in OpenCLIP's layout, which is not read: give one in that of "
        f"transformers, {instead}"
    )
