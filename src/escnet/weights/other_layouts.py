"""Layouts of towers that people have and that are not read: their names, and what to give instead.

A module of its own, as whoever only asks need not import PyTorch.
"""

from collections.abc import Mapping
from pathlib import Path

from escnet.errors import WeightsError
from escnet.weights.config_file import read_json_config

OPEN_CLIP_FILE = "open_clip_config.json"  # beside it, names of tensors that are OpenCLIP's own

_A_CLIP = "openai/clip-vit-base-patch16 or laion/CLIP-ViT-B-16-laion2B-s34B-b88K"

# By the `model_type` of a folder's config.json.
_OTHERS = {
    "siglip2": ("SigLIP 2 NaFlex", "SigLIP 2 of a fixed size, google/siglip2-base-patch16-256"),
    "clip_vision_model": ("CLIP's image tower alone", "the whole CLIP, with its texts"),
    "siglip_vision_model": ("SigLIP's image tower alone", "the whole SigLIP, with its texts"),
    "dinov3_vit": ("DINOv3's image tower alone", f"a CLIP, {_A_CLIP}"),
    "clipseg": ("CLIPSeg", f"a CLIP, {_A_CLIP}"),
}

# By how the name of OpenCLIP's image tower begins.
_IN_OPEN_CLIP = {"eva": "EVA02-CLIP", "convnext": "ConvNeXt CLIP", "vit_pe": "PE-Core"}


def refuse_other_layouts(shown: str, model_type: object) -> None:
    """Refuse towers that are known and not read.

    Args:
        shown: Where they are, for the message.
        model_type: That of their config.json.

    Raises:
        WeightsError: With their name, and what to give instead.
    """
    if isinstance(model_type, str) and model_type in _OTHERS:
        name, instead = _OTHERS[model_type]
        raise WeightsError(f"{shown} holds {name}, which is not read: give {instead}")


def refuse_open_clip(shown: str, folder: Path) -> None:
    """Refuse a folder in OpenCLIP's layout; one that has a config.json as well need not ask.

    Args:
        shown: The folder's name, for the message.
        folder: On this machine.

    Raises:
        WeightsError: With the name of what it holds, and what to give instead.
    """
    settings = read_json_config(folder / OPEN_CLIP_FILE)
    if settings is None:
        return
    name = next(
        (name for start, name in _IN_OPEN_CLIP.items() if _image_tower(settings).startswith(start)),
        "a CLIP",
    )
    raise WeightsError(
        f"{shown} holds {name} in OpenCLIP's layout, which is not read: give a CLIP in that of "
        f"transformers, {_A_CLIP}"
    )


def _image_tower(settings: Mapping[str, object]) -> str:
    """What OpenCLIP calls the image tower; nothing for its own plain ones."""
    for key in ("model_cfg", "vision_cfg"):
        inner = settings.get(key)
        settings = inner if isinstance(inner, dict) else {}
    return str(settings.get("timm_model_name", ""))
