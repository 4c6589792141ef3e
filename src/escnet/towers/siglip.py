"""SigLIP and SigLIP 2 of a fixed picture size (Zhai et al., ICCV 2023; Tschannen et al., 2025).

Both towers are transformers' own networks.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, N texts, T tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import (
    SiglipConfig,
    SiglipTextConfig,
    SiglipTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from escnet.towers.checks import check_taps
from escnet.towers.kind import (
    TowerKind,
    TowerSettings,
    unprojected_settings,
    whole_towers,
)
from escnet.towers.patches import Patches
from escnet.towers.self_attention import ATTENTIONS, last_block
from escnet.towers.text_reading import READINGS
from escnet.towers.tower import (
    TextTower,
    VisionTower,
    grid_of,
    inner_of,
    normalised,
    to_map,
)

_HALF = (0.5, 0.5, 0.5)


class SiglipVision(VisionTower):
    """SigLIP's image tower; every patch goes through the pooling head alone.

    The head's attention over a single token is its value path, so this is the embedding that the
    head would give if the picture were that patch.

    Args:
        config: Of transformers' `SiglipVisionModel`.
        taps: As of `escnet.towers.clip.ClipVision`.
    """

    attentions = ATTENTIONS

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        self.tower = SiglipVisionModel(SiglipVisionConfig(**config))
        check_taps(taps, self.tower.config.num_hidden_layers)
        self.taps = taps
        width = self.tower.config.hidden_size
        self.skip_channels = (width, width)
        self.sam_channels = width
        self.patch_size = self.tower.config.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        grid_hw = grid_of(image, self.patch_size)
        output = self._output_of(image)
        joint = to_map(self._through_head(output.last_hidden_state), 0, grid_hw)
        first, second = (to_map(output.hidden_states[tap + 1], 0, grid_hw) for tap in self.taps)
        return Patches(joint, (first, second))

    def dense_embedding(
        self, image: Float[Tensor, "B 3 H W"], attention: str
    ) -> Float[Tensor, "B D h w"]:
        grid_hw = grid_of(image, self.patch_size)
        inner = inner_of(self.tower)
        x = self._output_of(image).hidden_states[-2]
        x = last_block(inner.encoder.layers[-1], x, attention, grid_hw, leading=0)
        return to_map(self._through_head(inner.post_layernorm(x)), 0, grid_hw)

    def _output_of(self, image: Float[Tensor, "B 3 H W"]) -> Any:
        return self.tower(
            pixel_values=normalised(image, _HALF, _HALF),
            interpolate_pos_encoding=True,
            output_hidden_states=True,
        )

    def _through_head(self, x: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
        """The pooling head for each token alone: its value path."""
        head = inner_of(self.tower).head
        pool = head.attention
        width = pool.embed_dim
        value = F.linear(x, pool.in_proj_weight[2 * width :], pool.in_proj_bias[2 * width :])
        x = pool.out_proj(value)
        return x + head.mlp(head.layernorm(x))


class SiglipText(TextTower):
    """SigLIP's text tower, which was trained on padded texts and so sees the padding."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.tower = SiglipTextModel(SiglipTextConfig(**config))

    def forward(
        self,
        token: Int[Tensor, "N T"],
        is_token: Int[Tensor, "N T"],  # noqa: ARG002
    ) -> Float[Tensor, "N D"]:
        return self.tower(input_ids=token).pooler_output


def _settings_of(record: Mapping[str, Any]) -> TowerSettings:
    return unprojected_settings(SiglipConfig.from_dict(dict(record)))


SIGLIP = TowerKind(
    name="siglip",
    title="SigLIP",
    vision=SiglipVision,
    text=SiglipText,
    settings_of=_settings_of,
    parts=whole_towers(("vision_model.",), ("text_model.",)),
    reading=READINGS["siglip"],
    even_cosine=0.0,
)
