"""TIPSv2 (Google, 2026): an image tower of DINOv2's design, trained with texts.

Both towers are transformers' own networks. An earlier transformers lacks them, so their classes are
looked up where they are used (`TowerKind.transformers`).

Sizes: B pictures, H x W pixels, h x w patches, D joint space, N texts, T tokens.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import transformers
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.towers.checks import check_taps
from escnet.towers.kind import TowerKind, TowerSettings, unprojected_settings, whole_towers
from escnet.towers.patches import Patches
from escnet.towers.self_attention import last_block
from escnet.towers.tower import TextTower, VisionTower, grid_of, to_map


class Tipsv2Vision(VisionTower):
    """TIPSv2's image tower, whose patches are in the joint space as they leave it.

    In front of the patches stand two class tokens, of which the second is DINOv2's register. Pixels
    are not normalised. Its authors read patches out as MaskCLIP does.

    Args:
        config: Of transformers' `Tipsv2VisionModel`.
        taps: As of `escnet.towers.clip.ClipVision`.
    """

    attentions = ("maskclip", "naclip", "sclip")  # "clip" adds the one class token to each patch

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        made = transformers.Tipsv2VisionConfig(**config)
        self.tower = transformers.Tipsv2VisionModel(made)
        check_taps(taps, made.num_hidden_layers)
        self.taps = taps
        self.leading = 1 + made.num_register_tokens
        self.skip_channels = (made.hidden_size, made.hidden_size)
        self.sam_channels = made.hidden_size
        self.patch_size = made.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        grid_hw = grid_of(image, self.patch_size)
        hidden = self._hidden(image)
        first, second = (to_map(hidden[tap + 1], self.leading, grid_hw) for tap in self.taps)
        return Patches(self._joint(hidden[-2], "maskclip", grid_hw), (first, second))

    def unused_modules(self) -> Sequence[nn.Module]:
        own = self.tower.encoder.layer[-1].attention
        return own.q_proj, own.k_proj

    def dense_embedding(
        self, image: Float[Tensor, "B 3 H W"], attention: str
    ) -> Float[Tensor, "B D h w"]:
        grid_hw = grid_of(image, self.patch_size)
        return self._joint(self._hidden(image)[-2], attention, grid_hw)

    def _hidden(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B T D"], ...]:
        """What enters the first block, and what leaves each."""
        return self.tower(pixel_values=image, output_hidden_states=True).hidden_states

    def _joint(
        self, x: Float[Tensor, "B T D"], attention: str, grid_hw: tuple[int, int]
    ) -> Float[Tensor, "B D h w"]:
        """The patch embeddings of what enters the last block."""
        block = _by_clips_names(self.tower.encoder.layer[-1])
        x = last_block(block, x, attention, grid_hw, self.leading)
        return to_map(self.tower.layernorm(x), self.leading, grid_hw)


class Tipsv2Text(TextTower):
    """TIPSv2's text tower: the mean of a text's tokens."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.tower = transformers.Tipsv2TextModel(transformers.Tipsv2TextConfig(**config))

    def forward(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        return self.tower(input_ids=token, attention_mask=is_token).pooler_output


def _by_clips_names(block: Any) -> SimpleNamespace:
    """A block of DINOv2's design as `last_block` knows it; its scales belong to the branches."""
    own = block.attention
    return SimpleNamespace(
        layer_norm1=block.norm1,
        self_attn=SimpleNamespace(
            q_proj=own.q_proj,
            k_proj=own.k_proj,
            v_proj=own.v_proj,
            out_proj=nn.Sequential(own.o_proj, block.layer_scale1),
            num_heads=own.num_attention_heads,
        ),
        layer_norm2=block.norm2,
        mlp=nn.Sequential(block.mlp, block.layer_scale2),
    )


def _settings_of(record: Mapping[str, Any]) -> TowerSettings:
    return unprojected_settings(transformers.Tipsv2Config.from_dict(dict(record)))


TIPSV2 = TowerKind(
    name="tipsv2",
    title="TIPSv2",
    vision=Tipsv2Vision,
    text=Tipsv2Text,
    settings_of=_settings_of,
    # the authors' files have other names, which transformers translates
    parts=whole_towers(("vision_model.", "vision_encoder."), ("text_model.", "text_encoder.")),
    transformers="5.14",
    even_cosine=0.0,
)
