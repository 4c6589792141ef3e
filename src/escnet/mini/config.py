"""Settings of the built-in model, beyond those of ESC-Net.

The numbers in brackets are those of docs/paper-notes.md.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from escnet.errors import ConfigError
from escnet.inference.label_maps.rest import RestRule
from escnet.model.config import EscNetConfig
from escnet.towers.checks import check_share_prior

UPSAMPLINGS = ("bilinear", "guided")
SAM_INPUTS = ("joint", "tower")


class MiniConfig(EscNetConfig):
    """What must be equal for a checkpoint to load.

    Args:
        layers: Blocks of the ViT that are read, counted from 1.
        head_dim: Inner width of the map from both nets to the joint space.
        sam_input: What SAM's blocks see of the picture, brought to SAM's width: the patches in the
            "joint" space, or what the "tower" made them of [9].
        upsampling: Of the logits to the picture: "bilinear", or first "guided" by the picture to a
            grid twice as fine [26].
        presence: Whether names that the whole picture does not seem to show lose logits [28]; it is
            fitted behind a finished network.
        detail: Whether a branch of the image side adds to the logits what it sees of thin and small
            things [29]; it is trained behind a finished network.
        share_prior: At inference, how much a name counts by the share of the picture that it seems
            to cover [27]; 0 for not at all, 1 for a prior of that share.
        rest: At inference, the numbers of `RestRule` by name, those that are not given having its
            own values; None where a probability of one half decides what is the rest.
        **settings: Those of `EscNetConfig`.

    Raises:
        ConfigError: If a setting is out of range or contradicts another.
    """

    model_type = "escnet_mini"
    free_settings = EscNetConfig.free_settings | {
        "detail",
        "presence",
        "rest",
        "share_prior",
        "upsampling",
    }

    def __init__(
        self,
        *,
        layers: Sequence[int] = (6, 9, 12),
        head_dim: int = 256,
        sam_input: str = "joint",
        upsampling: str = "guided",
        presence: bool = True,
        detail: bool = True,
        share_prior: float = 0.5,
        rest: Mapping[str, Any] | None = MappingProxyType({}),
        **settings: Any,
    ) -> None:
        self.layers = tuple(layers)
        self.head_dim = head_dim
        self.sam_input = sam_input
        self.upsampling = upsampling
        self.presence = presence
        self.detail = detail
        self.share_prior = share_prior
        self.rest = None if rest is None else RestRule.of(rest).as_settings()
        for name, known in (("sam_input", SAM_INPUTS), ("upsampling", UPSAMPLINGS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} {getattr(self, name)!r} is unknown: choose from {', '.join(known)}"
                )
        check_share_prior(share_prior)
        super().__init__(**{**settings, "towers": "mini"})

    @classmethod
    def setting_names(cls) -> list[str]:
        """Without the paper's choice of towers: it has its own."""
        return [name for name in super().setting_names() if name not in {"towers", "taps"}]

    def check_towers(self) -> None:
        """The towers are the model's own."""


def _mini() -> MiniConfig:
    return MiniConfig(
        vision_config={"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6,
                       "image_size": 518, "patch_size": 14},
        text_config={"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
                     "intermediate_size": 1536, "vocab_size": 30522},
        image_size=448,
        template="a {}",
        num_blocks=2,
        hidden_dim=64,
        ffn_ratio=2,
        decoder_dims=(32, 16),
        skip_dims=(16, 16),
        correlation_residual=True,
        max_classes=0,
    )  # fmt: skip


MINI_PRESETS = {"mini": _mini}
