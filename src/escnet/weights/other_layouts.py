"""Layouts of towers that people have and that are not read: their names, and what to give instead.

A module of its own, as whoever only asks need not import PyTorch.
"""

from escnet.errors import WeightsError

_A_CLIP = "openai/clip-vit-base-patch16 or laion/CLIP-ViT-B-16-laion2B-s34B-b88K"

# By the `model_type` of a folder's config.json.
_OTHERS = {
    "siglip2": ("SigLIP 2 NaFlex", "SigLIP 2 of a fixed size, google/siglip2-base-patch16-256"),
    "clip_vision_model": ("CLIP's image tower alone", "the whole CLIP, with its texts"),
    "siglip_vision_model": ("SigLIP's image tower alone", "the whole SigLIP, with its texts"),
    "dinov3_vit": ("DINOv3's image tower alone", f"a CLIP, {_A_CLIP}"),
    "clipseg": ("CLIPSeg", f"a CLIP, {_A_CLIP}"),
}


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
