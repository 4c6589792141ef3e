"""Settings of CAT-Seg's network, and the presets of its published weights (docs/paper-notes.md)."""

from collections.abc import Sequence
from typing import Any

from escnet.errors import ConfigError
from escnet.model.config import PRESETS
from escnet.towers.checks import (
    check_image_size,
    check_kernel,
    check_no_misspelling,
    check_pair,
    check_rejection,
    check_template,
    check_whole_numbers,
)
from escnet.towers.network import NetworkConfig

_BYTES = 4  # of a value
_CHANNELS_PER_GROUP = 16
_SIZES = (
    *("view_size", "joint_dim", "num_templates", "hidden_dim", "guidance_dim", "num_layers"),
    *("num_heads", "window", "ffn_ratio", "embed_kernel", "pooling", "train_pooling"),
)  # whole numbers from 1 on


class CatSegConfig(NetworkConfig):
    """What must be equal for a checkpoint to load.

    Args:
        vision_config: CLIP's image tower, as transformers names its fields.
        text_config: CLIP's text tower.
        taps: Two blocks of the image tower, counted from 0, whose outputs are the skips: that of
            the decoder's coarser stage first.
        image_size: Side of the square picture that the tower sees, in pixels.
        view_size: Side of the square that a view is brought to before that, in pixels.
        joint_dim: Width D of the joint space.
        template: The text that a class name is put into.
        num_templates: Text embeddings of each class name, P; each has its own correlation map.
        hidden_dim: C.
        guidance_dim: Channels of the appearance's and of the text's guidance.
        num_layers: Aggregation layers.
        num_heads: Heads of both attentions.
        window: Side of the spatial aggregation's windows, in patches.
        ffn_ratio: Inner width of the feed-forward networks, in multiples of C.
        embed_kernel: Side of the convolution that turns correlation into a class state.
        pooling: At inference, the class aggregation works on squares of that many patches a side.
        train_pooling: The same while training.
        max_classes: The class aggregation always sees that many classes: fewer are padded with a
            learned token, and beyond it those with the lowest correlation are dropped for a
            picture; 0 for neither.
        rejection: At inference that is not exact, how many labels are left after a look at the
            correlation, in place of those that `max_classes` drops; empty for all of these.
        skip_channels: Channels of the skips after their upsampling.
        skip_dims: Channels that each skip is projected to.
        decoder_dims: Channels of the decoder's stages.
        trained_on: Class names that the weights have seen labelled.
        origins: Where each part of the weights came from.

    Raises:
        ConfigError: If a setting is out of range or contradicts another.
    """

    model_type = "escnet_catseg"

    def __init__(  # noqa: PLR0913 -- one line a setting
        self,
        *,
        vision_config: dict[str, Any] | None = None,
        text_config: dict[str, Any] | None = None,
        taps: Sequence[int] = (3, 7),
        image_size: int = 384,
        view_size: int = 384,
        joint_dim: int = 512,
        template: str = "A photo of a {} in the scene",
        num_templates: int = 1,
        hidden_dim: int = 128,
        guidance_dim: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        window: int = 12,
        ffn_ratio: int = 4,
        embed_kernel: int = 7,
        pooling: int = 1,
        train_pooling: int = 2,
        max_classes: int = 256,
        rejection: Sequence[int] = (32,),
        skip_channels: Sequence[int] = (256, 128),
        skip_dims: Sequence[int] = (32, 16),
        decoder_dims: Sequence[int] = (64, 32),
        trained_on: Sequence[str] = (),
        origins: Sequence[dict[str, Any]] = (),
        **kwargs: Any,
    ) -> None:
        self.vision_config = vision_config or {}
        self.text_config = text_config or {}
        self.taps = tuple(taps)
        self.image_size = image_size
        self.view_size = view_size
        self.joint_dim = joint_dim
        self.template = template
        self.num_templates = num_templates
        self.hidden_dim = hidden_dim
        self.guidance_dim = guidance_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.window = window
        self.ffn_ratio = ffn_ratio
        self.embed_kernel = embed_kernel
        self.pooling = pooling
        self.train_pooling = train_pooling
        self.max_classes = max_classes
        self.rejection = tuple(rejection)
        self.skip_channels = tuple(skip_channels)
        self.skip_dims = tuple(skip_dims)
        self.decoder_dims = tuple(decoder_dims)
        self.trained_on = tuple(trained_on)
        self.origins = tuple(origins)
        check_no_misspelling(kwargs, self.setting_names())
        self._check()
        super().__init__(**kwargs)

    @property
    def patch_size(self) -> int:  # type: ignore[override]
        """Side of one patch, in pixels."""
        return int(self.vision_config.get("patch_size", 16))

    @property
    def bytes_per_class(self) -> int:
        """Working memory that one class name of one picture needs at the widest place, in bytes."""
        patches = self.grid_size**2
        # Aggregation: state, norm, queries, keys, values, scores of the windows, the inner layer.
        scores = patches * self.num_heads * self.window**2
        aggregation = patches * self.hidden_dim * (8 + 2 * self.ffn_ratio) + scores
        # Decoder: the finest stage, before and after a convolution and its norm.
        decoder = 16 * patches * 4 * max(self.decoder_dims[1], self.decoder_dims[0] // 4)
        return _BYTES * max(aggregation, decoder)

    def _check(self) -> None:
        check_whole_numbers({name: getattr(self, name) for name in _SIZES})
        check_whole_numbers({"max_classes": self.max_classes}, least=0)
        check_rejection(self.rejection)
        for name in ("skip_channels", "skip_dims", "decoder_dims"):
            check_pair(name, getattr(self, name))
        check_kernel("embed_kernel", self.embed_kernel)
        check_image_size(self.image_size, self.patch_size)
        if self.grid_size > self.window and self.grid_size % self.window:
            raise ConfigError(
                f"window {self.window} does not divide the grid of {self.grid_size} patches: "
                "choose one that does"
            )
        if self.hidden_dim % self.num_heads:
            raise ConfigError(
                f"hidden_dim {self.hidden_dim} is not a multiple of {self.num_heads}: "
                "choose one that is"
            )
        for dim in self.decoder_dims:
            if dim % _CHANNELS_PER_GROUP:
                raise ConfigError(
                    f"decoder_dims {list(self.decoder_dims)} are not multiples of "
                    f"{_CHANNELS_PER_GROUP}: choose some that are"
                )
        check_template(self.template)


def _vit_b_16() -> CatSegConfig:
    towers = PRESETS["vit-b-16"]()  # the same CLIP
    return CatSegConfig(vision_config=towers.vision_config, text_config=towers.text_config)


def _vit_l_14() -> CatSegConfig:
    towers = PRESETS["vit-l-14"]()
    return CatSegConfig(
        vision_config=towers.vision_config,
        text_config=towers.text_config,
        taps=(7, 15),
        image_size=336,
        joint_dim=768,
    )


def _tiny() -> CatSegConfig:
    return CatSegConfig(
        vision_config={"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3,
                       "num_attention_heads": 1, "image_size": 28, "patch_size": 2,
                       "projection_dim": 16},
        text_config={"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2,
                     "num_attention_heads": 1, "projection_dim": 16, "vocab_size": 300,
                     "max_position_embeddings": 77, "bos_token_id": 298, "eos_token_id": 299},
        taps=(0, 1),
        image_size=48,
        view_size=48,
        joint_dim=16,
        hidden_dim=16,
        guidance_dim=8,
        num_heads=4,
        max_classes=8,
        skip_channels=(12, 10),
        skip_dims=(4, 2),
        decoder_dims=(32, 16),
    )  # fmt: skip


CATSEG_PRESETS = {"vit-b-16": _vit_b_16, "vit-l-14": _vit_l_14, "tiny": _tiny}
