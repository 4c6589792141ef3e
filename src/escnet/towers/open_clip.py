"""CLIPs whose image tower transformers lacks: EVA02-CLIP, ConvNeXt CLIP and PE-Core.

They are published in OpenCLIP's layout (`escnet.weights.open_clip`). Their text tower is CLIP's.

Sizes: B pictures, H x W pixels, h x w patches, D joint space, V inner width, T tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextConfig, ConvNextConfig, ConvNextModel, PretrainedConfig

from escnet.towers.checks import check_taps
from escnet.towers.clip import ClipText
from escnet.towers.kind import MakeVision, TowerKind, TowerPart, TowerSettings
from escnet.towers.patches import Patches
from escnet.towers.rotary_vit import PoolingHead, RotaryVit, RotaryVitConfig, feed_forward
from escnet.towers.self_attention import ATTENTIONS, last_block
from escnet.towers.text_reading import READINGS
from escnet.towers.tower import Towers, VisionTower, grid_of, normalised, to_map

_STEM = 4  # pixels along one side of ConvNeXt's first patches


class RotaryVision(VisionTower):
    """The image tower of EVA02-CLIP or PE-Core.

    EVA02-CLIP is read out as CLIP. Of PE-Core every patch goes through the pooling head alone, as
    SigLIP's do. Where the last block attends by other means, its queries and keys are not turned by
    their places: SCLIP and NACLIP compare what patches show.

    Args:
        config: Of `RotaryVit`.
        taps: As of `escnet.towers.clip.ClipVision`.
    """

    attentions = ATTENTIONS

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        made = RotaryVitConfig(**config)
        check_taps(taps, made.num_hidden_layers)
        self.tower = RotaryVit(made)
        width = made.hidden_size
        is_pe = made.family == "pe_core"
        self.pooling = PoolingHead(width, made.layer_norm_eps) if is_pe else nn.Identity()
        self.projection = nn.Linear(width, made.projection_dim)
        self.taps = taps
        self.skip_channels = (width, width)
        self.sam_channels = made.projection_dim
        self.patch_size = made.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        grid_hw = grid_of(image, self.patch_size)
        hidden = self._hidden(image)
        leading = self.tower.leading
        if self.tower.config.family == "pe_core":
            joint = self._projected(hidden[-1], grid_hw)
        else:
            joint = self._joint(hidden[-2], "clip", grid_hw)
        first, second = (to_map(hidden[tap + 1], leading, grid_hw) for tap in self.taps)
        return Patches(joint, (first, second))

    def unused_modules(self) -> Sequence[nn.Module]:
        own = self.tower.layers[-1].self_attn
        return () if self.tower.config.family == "pe_core" else (own.q_proj, own.k_proj)

    def dense_embedding(
        self, image: Float[Tensor, "B 3 H W"], attention: str
    ) -> Float[Tensor, "B D h w"]:
        grid_hw = grid_of(image, self.patch_size)
        return self._joint(self._hidden(image)[-2], attention, grid_hw)

    def _hidden(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B T V"]]:
        config = self.tower.config
        return self.tower(normalised(image, config.image_mean, config.image_std))

    def _joint(
        self, x: Float[Tensor, "B T V"], attention: str, grid_hw: tuple[int, int]
    ) -> Float[Tensor, "B D h w"]:
        """The patch embeddings of what enters the last block."""
        x = last_block(self.tower.layers[-1], x, attention, grid_hw, self.tower.leading)
        return self._projected(x, grid_hw)

    def _projected(
        self, x: Float[Tensor, "B T V"], grid_hw: tuple[int, int]
    ) -> Float[Tensor, "B D h w"]:
        """The patch embeddings of what leaves it."""
        joint = self.projection(self.pooling(self.tower.post_layernorm(x)))
        return to_map(joint, self.tower.leading, grid_hw)


class ConvNextClipConfig(PretrainedConfig):
    """Settings of ConvNeXt CLIP's image tower.

    Attributes:
        hidden_sizes: Channels of its four stages.
        depths: Blocks of each.
        head: What leads to the joint space: "linear", or "mlp".
        image_mean: Of the pixels, in [0, 1], by channel.
        image_std: Their deviation.
    """

    model_type = "convnext_clip"

    def __init__(
        self,
        *,
        hidden_sizes: Sequence[int] = (128, 256, 512, 1024),
        depths: Sequence[int] = (3, 3, 27, 3),
        image_size: int = 256,
        projection_dim: int = 640,
        head: str = "linear",
        layer_norm_eps: float = 1e-6,
        image_mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        image_std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
        **kwargs: Any,
    ) -> None:
        self.hidden_sizes = tuple(hidden_sizes)
        self.depths = tuple(depths)
        self.image_size = image_size
        self.projection_dim = projection_dim
        self.head = head
        self.layer_norm_eps = layer_norm_eps
        self.image_mean = tuple(image_mean)
        self.image_std = tuple(image_std)
        super().__init__(**kwargs)

    @property
    def num_hidden_layers(self) -> int:
        """Its stages."""
        return len(self.depths)

    @property
    def patch_size(self) -> int:
        """Pixels along one side of a place of the last stage."""
        return int(_STEM * 2 ** (len(self.depths) - 1))


class ConvNextVision(VisionTower):
    """ConvNeXt CLIP's image tower; every place goes the way that their mean was trained to go.

    SED and FC-CLIP read it so. Its skips are finer than its patches: the stages' own maps.

    Args:
        config: `ConvNextClipConfig`'s.
        taps: Two of its stages, counted from 0: that of the decoder's coarser stage first.
    """

    def __init__(self, config: dict[str, Any], *, taps: tuple[int, int]) -> None:
        super().__init__()
        made = ConvNextClipConfig(**config)
        check_taps(taps, len(made.depths))
        self.config = made
        self.tower = ConvNextModel(
            ConvNextConfig(
                hidden_sizes=list(made.hidden_sizes),
                depths=list(made.depths),
                num_stages=len(made.depths),
                patch_size=_STEM,
                layer_norm_eps=made.layer_norm_eps,
            )
        )
        for module in self.tower.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = made.layer_norm_eps  # transformers knows 1e-6 alone
        width, joint = made.hidden_sizes[-1], made.projection_dim
        if made.head == "mlp":
            self.projection = feed_forward(width, 2 * joint, joint, bias=False)
        else:
            self.projection = nn.Linear(width, joint, bias=False)
        self.taps = taps
        self.skip_channels = (made.hidden_sizes[taps[0]], made.hidden_sizes[taps[1]])
        self.sam_channels = joint
        self.patch_size = made.patch_size

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Patches:
        x = self.tower.embeddings(normalised(image, self.config.image_mean, self.config.image_std))
        maps = []
        for stage in self.tower.encoder.stages:
            x = stage(x)
            maps.append(x)
        joint = self.projection(self.tower.layernorm(x.movedim(1, -1))).movedim(-1, 1)
        return Patches(joint, (maps[self.taps[0]], maps[self.taps[1]]))


_IMAGE_TOWERS: Mapping[str, tuple[type[PretrainedConfig], MakeVision]] = {
    RotaryVitConfig.model_type: (RotaryVitConfig, RotaryVision),
    ConvNextClipConfig.model_type: (ConvNextClipConfig, ConvNextVision),
}


def _vision(config: dict[str, Any], *, taps: tuple[int, int]) -> VisionTower:
    """The image tower that the settings are of."""
    own = dict(config)
    _, tower = _IMAGE_TOWERS[own.pop("model_type")]
    return tower(own, taps=taps)


def _settings_of(record: Mapping[str, Any]) -> TowerSettings:
    vision = dict(record["vision_config"])
    config, tower = _IMAGE_TOWERS[vision["model_type"]]
    width = record["projection_dim"]
    return TowerSettings(
        vision=config(**{**vision, "projection_dim": width}),
        text=CLIPTextConfig(**{**record["text_config"], "projection_dim": width}),
        joint_dim=width,
        taps=(2, 1) if tower is ConvNextVision else None,  # of twice and four times its resolution
    )


def _parts(towers: Towers) -> list[TowerPart]:
    return [
        TowerPart(module=towers.vision, prefixes=("vision.",), stripped="vision."),
        TowerPart(module=towers.text.tower, prefixes=("text_model.", "text_projection.")),
    ]


OPEN_CLIP = TowerKind(
    name="open_clip",
    title="CLIP in OpenCLIP's layout",
    vision=_vision,
    text=ClipText,
    settings_of=_settings_of,
    parts=_parts,
    reading=READINGS["clip"],
    even_cosine=0.2,
)
