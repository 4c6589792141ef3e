"""DINOv2 with a text encoder, as transformers' `VisionTextDualEncoderModel` pairs them.

Both were trained apart; a linear map on each side, trained as CLIP's are, leads to the joint space.
Any encoder that transformers knows by its `model_type` and that pools its texts may be the text
side, such as BERT or RoBERTa.

Sizes: B pictures, H x W pixels, D joint space, N texts, T tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    Dinov2Config,
    Dinov2Model,
    VisionTextDualEncoderConfig,
)

from escnet.towers.checks import check_taps
from escnet.towers.clip import clips_settings
from escnet.towers.dinov2 import dinov2_maps
from escnet.towers.kind import TowerKind, TowerPart, TowerSettings
from escnet.towers.patches import Patches
from escnet.towers.tower import TextTower, Towers, VisionTower

_NOT_THE_ENCODERS = ("model_type", "projection_dim")


class DualEncoderVision(VisionTower):
    """DINOv2, every patch of which goes to the joint space by the map that its picture goes by.

    Args:
        config: Of transformers' `Dinov2Model`, and the joint space's width as `projection_dim`.
        taps: As of `escnet.towers.clip.ClipVision`.
    """

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        own = {name: value for name, value in config.items() if name not in _NOT_THE_ENCODERS}
        self.tower = Dinov2Model(Dinov2Config(**own))
        check_taps(taps, self.tower.config.num_hidden_layers)
        self.taps = taps
        width = self.tower.config.hidden_size
        self.projection = nn.Linear(width, config["projection_dim"], bias=False)
        self.skip_channels = (width, width)
        self.sam_channels = config["projection_dim"]
        self.patch_size = self.tower.config.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        depth = self.tower.config.num_hidden_layers
        last, first, second = dinov2_maps(
            self.tower, image, (depth, *(tap + 1 for tap in self.taps))
        )
        joint = torch.einsum("bvhw,dv->bdhw", last, self.projection.weight)
        return Patches(joint, (first, second))


class DualEncoderText(TextTower):
    """A text encoder, whose pooled text goes to the joint space.

    Args:
        config: Of the encoder, its kind as `model_type`, and the joint space's width as
            `projection_dim`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        own = {name: value for name, value in config.items() if name not in _NOT_THE_ENCODERS}
        self.tower = AutoModel.from_config(AutoConfig.for_model(config["model_type"], **own))
        width = self.tower.config.hidden_size
        self.projection = nn.Linear(width, config["projection_dim"], bias=False)

    def forward(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        pooled = self.tower(input_ids=token, attention_mask=is_token).pooler_output
        return self.projection(pooled)


def _settings_of(record: Mapping[str, Any]) -> TowerSettings:
    config = VisionTextDualEncoderConfig.from_dict(dict(record))
    if (kind := config.vision_config.model_type) != "dinov2":
        raise ValueError(f"its image tower is of the kind {kind!r}, not dinov2")
    return clips_settings(config)


def _parts(towers: Towers) -> list[TowerPart]:
    return [
        TowerPart(
            module=towers.vision.tower, prefixes=("vision_model.",), stripped="vision_model."
        ),
        TowerPart(
            module=towers.vision.projection,
            prefixes=("visual_projection.",),
            stripped="visual_projection.",
        ),
        TowerPart(module=towers.text.tower, prefixes=("text_model.",), stripped="text_model."),
        TowerPart(
            module=towers.text.projection,
            prefixes=("text_projection.",),
            stripped="text_projection.",
        ),
    ]


DUAL_ENCODER = TowerKind(
    name="vision-text-dual-encoder",
    title="DINOv2 with a text encoder",
    vision=DualEncoderVision,
    text=DualEncoderText,
    settings_of=_settings_of,
    parts=_parts,
    even_cosine=0.2,
)
