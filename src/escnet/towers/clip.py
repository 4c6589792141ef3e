"""CLIP (Radford et al., ICML 2021), and what others published in its layout: MetaCLIP, LAION's.

Both towers are transformers' own networks; what is written here is how dense embeddings are read
out of the image tower, and its normalisation of pixels.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, N texts, T tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)

from escnet.towers.checks import check_taps
from escnet.towers.kind import TowerKind, TowerSettings, whole_towers
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

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class ClipVision(VisionTower):
    """CLIP's image tower with CAT-Seg's dense read-out.

    In the last block no patch looks at another: each takes its own value, projected, and the class
    token as residual (docs/paper-notes.md, note 24).

    Args:
        config: Of transformers' `CLIPVisionModelWithProjection`.
        taps: Two block indices, counted from 0, whose outputs are the skips: that of the decoder's
            coarser stage first.
    """

    attentions = ATTENTIONS

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        self.tower = self.random_tower(config)
        check_taps(taps, self.tower.config.num_hidden_layers)
        self.taps = taps
        width = self.tower.config.hidden_size
        self.skip_channels = (width, width)
        self.sam_channels = self.tower.config.projection_dim
        self.patch_size = self.tower.config.patch_size

    @staticmethod
    def random_tower(config: dict[str, Any]) -> PreTrainedModel:
        """Transformers' network, untrained; that of another CLIP has the same parts."""
        return CLIPVisionModelWithProjection(CLIPVisionConfig(**config))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        grid_hw = grid_of(image, self.patch_size)
        hidden = self._hidden(image)
        joint = self._joint(hidden[-2], "clip", grid_hw)
        first, second = (to_map(hidden[tap + 1], 1, grid_hw) for tap in self.taps)
        return Patches(joint, (first, second))

    def unused_modules(self) -> Sequence[nn.Module]:
        own = inner_of(self.tower).encoder.layers[-1].self_attn
        return own.q_proj, own.k_proj

    def dense_embedding(
        self, image: Float[Tensor, "B 3 H W"], attention: str
    ) -> Float[Tensor, "B D h w"]:
        hidden = self._hidden(image)
        return self._joint(hidden[-2], attention, grid_of(image, self.patch_size))

    def _hidden(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B T V"], ...]:
        """What enters the first block, and what leaves each."""
        return inner_of(self.tower)(
            pixel_values=normalised(image, _MEAN, _DEVIATION),
            interpolate_pos_encoding=True,
            output_hidden_states=True,
        ).hidden_states

    def _joint(
        self, x: Float[Tensor, "B T V"], attention: str, grid_hw: tuple[int, int]
    ) -> Float[Tensor, "B D h w"]:
        """The patch embeddings of what enters the last block."""
        inner = inner_of(self.tower)
        x = last_block(inner.encoder.layers[-1], x, attention, grid_hw, leading=1)
        return to_map(self.tower.visual_projection(inner.post_layernorm(x)), 1, grid_hw)


class ClipText(TextTower):
    """CLIP's text tower: the projected embedding of the end token."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.tower = self.random_tower(config)

    @staticmethod
    def random_tower(config: dict[str, Any]) -> PreTrainedModel:
        """As of `ClipVision`."""
        return CLIPTextModelWithProjection(CLIPTextConfig(**config))

    def forward(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        return self.tower(input_ids=token, attention_mask=is_token).text_embeds


def _settings_of(record: Mapping[str, Any]) -> TowerSettings:
    return clips_settings(CLIPConfig.from_dict(dict(record)))


def clips_settings(config: Any) -> TowerSettings:
    """What a configuration with CLIP's fields says."""
    return TowerSettings(
        vision=config.vision_config,
        text=config.text_config,
        joint_dim=config.projection_dim,
        shared={"projection_dim": config.projection_dim},
    )


# Which module takes which of CLIP's tensors.
CLIPS_PARTS = whole_towers(
    ("vision_model.", "visual_projection."), ("text_model.", "text_projection.")
)

CLIP = TowerKind(
    name="clip",
    title="CLIP",
    vision=ClipVision,
    text=ClipText,
    settings_of=_settings_of,
    parts=CLIPS_PARTS,
    reading=READINGS["clip"],
    even_cosine=0.2,
)
