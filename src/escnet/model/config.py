"""Settings of the network, and the presets that name the paper's models.

A setting is found in one hop: preset -> `EscNetConfig` argument -> the module's argument of the
same name. Each says what it stands for: a table, figure, equation or section of the paper, or, in
brackets, a note of docs/paper-notes.md on what the paper leaves open, with the reason and, where
there is one, the measurement.

Sizes, here and in the modules: N_o regions of a class, C hidden width, D joint space, S SAM's
width.
"""

import math
from collections.abc import Sequence
from typing import Any, get_args

from escnet.errors import ConfigError
from escnet.model.decoder import norm_groups
from escnet.model.fusion import LanguageMode
from escnet.model.mask_head import NUM_MASKS, NUM_OUTPUT_TOKENS
from escnet.model.pseudo_prompt import EmptyRegion, MaskPrompt, Softmax
from escnet.model.sam_block import Merge, PromptKind
from escnet.towers.checks import (
    check_image_size,
    check_kernel,
    check_no_misspelling,
    check_pair,
    check_rejection,
    check_template,
    check_whole_numbers,
)
from escnet.towers.network import NetworkConfig, of_preset
from escnet.towers.table import tower_kind

SAM_KINDS = ("pretrained", "random", "none")
APPEARANCES = ("chain", "restart")
STATES = ("hidden", "scalar")
SAM_LAYERS = ("both", "alternate")

SAM_HEADS = 8  # of SAM's two-way layers
_BYTES = 4  # of a value
_SIZES = (
    *("joint_dim", "num_blocks", "regions_per_class", "kmeans_steps"),
    *("sam_dim", "sam_mlp_dim", "hidden_dim", "num_heads", "window", "ffn_ratio", "embed_kernel"),
)  # whole numbers from 1 on


class EscNetConfig(NetworkConfig):
    """The network's settings; all that shape a tensor must be equal for a checkpoint to load.

    Args:
        towers: Kind of both towers, one of `escnet.towers.table`; the paper's are CLIP (Table 1).
        vision_config: The image tower's own configuration, as transformers names its fields: CLIP's
            ViT-B/16 or ViT-L/14 in the paper (Table 1).
        text_config: The text tower's (Table 1).
        taps: Two blocks of the image tower, counted from 0, whose outputs are the decoder's skips,
            that of its coarser stage first [17].
        image_size: Side of the square picture that the tower sees, in pixels [22].
        patch_size: Side of one patch of that picture, in pixels [22].
        joint_dim: D, in which the correlation is a cosine (Eq. 1).
        template: The sentence that a class name is put into [34].
        num_blocks: ESC-Blocks, one after the other (Fig. 2) [7].
        regions_per_class: N_o, regions that k-means makes of a class's foreground [2].
        softmax: Axis of the generator's softmax, "position" or "class" [1].
        sharpness: Its gain [1].
        threshold: The paper's alpha, as a share of a class's best patch [1].
        kmeans_steps: Rounds of k-means [2].
        empty_region: "drop" or "repeat" the prompt of a region without a patch [3].
        mask_prompt: "map", "union" or "separate" [4].
        mask_scale: Mask logits run from minus this to plus this [5].
        prompts: Kinds of prompts that SAM gets (Table 3).
        sam: "pretrained" SAM blocks, "random" ones, or "none" (Table 2).
        sam_layers: "both" of SAM's two-way layers in every block, or one each, "alternate"ly [7].
        sam_masks: Whether each class's own mask is read off SAM, too, and joins its state and its
            map: the other reading of a "SAM block", with what of SAM's decoder the first leaves
            out [7].
        sam_dim: S, to which the joint space is brought [9].
        sam_mlp_dim: Inner width of the tokens' feed-forward network in SAM's layers [7].
        text_token: Whether the text embedding joins SAM's tokens [8].
        merge: How classes are weighted in the appearance, "mean" or "evidence" [10].
        appearance: "chain": a block sees the appearance of the one before; "restart": each sees the
            image embedding [11].
        state: "hidden": the class state goes from block to block; "scalar": it is embedded anew
            from one map for each block [12].
        correlation_residual: Whether the last block's map, which holds the correlation, is added
            to the logits: not in the paper, and used by the built-in model alone [25].
        hidden_dim: C [14].
        num_heads: Heads of both attentions of the fusion [14].
        window: Side of the vision attention's windows, in patches [14].
        ffn_ratio: Inner width of the fusion's feed-forward networks, in multiples of C [14].
        embed_kernel: Side of the convolution that turns a map into a class state [12].
        language_attention: "text" or "classes" [16].
        skip_dims: Channels of the decoder's skips [17].
        decoder_dims: Channels of the decoder's stages [17].
        max_classes: At exact inference, names beyond this number are dropped for a picture,
            those with the lowest correlation first [21]; 0 for never.
        rejection: At inference that is not exact, how many labels are left before each ESC-Block,
            and before the decoder; the last number holds for all that follow; empty for all
            [21].
        trained_on: Class names that the weights have seen labelled; Table 1 names the data sets.
        origins: Where each part of the weights came from; the paper does not say which SAM [23].

    Raises:
        ConfigError: If a setting is out of range or contradicts another.
    """

    model_type = "escnet"
    free_settings = NetworkConfig.free_settings | {"sam_masks"}

    def __init__(  # noqa: PLR0913, PLR0915 -- one line a setting
        self,
        *,
        towers: str = "clip",
        vision_config: dict[str, Any] | None = None,
        text_config: dict[str, Any] | None = None,
        taps: Sequence[int] = (3, 7),
        image_size: int = 384,
        patch_size: int = 16,
        joint_dim: int = 512,
        template: str = "A photo of a {} in the scene",
        num_blocks: int = 4,
        regions_per_class: int = 5,
        softmax: Softmax = "position",
        sharpness: float = 4.0,
        threshold: float = 0.3,
        kmeans_steps: int = 10,
        empty_region: EmptyRegion = "drop",
        mask_prompt: MaskPrompt = "map",
        mask_scale: float = 1.0,
        prompts: Sequence[PromptKind] = ("point", "mask"),
        sam: str = "pretrained",
        sam_layers: str = "both",
        sam_masks: bool = False,
        sam_dim: int = 256,
        sam_mlp_dim: int = 2048,
        text_token: bool = False,
        merge: Merge = "mean",
        appearance: str = "chain",
        state: str = "hidden",
        correlation_residual: bool = False,
        hidden_dim: int = 128,
        num_heads: int = 4,
        window: int = 12,
        ffn_ratio: int = 4,
        embed_kernel: int = 7,
        language_attention: LanguageMode = "text",
        skip_dims: Sequence[int] = (32, 16),
        decoder_dims: Sequence[int] = (64, 32),
        max_classes: int = 256,
        rejection: Sequence[int] = (32, 16),
        trained_on: Sequence[str] = (),
        origins: Sequence[dict[str, Any]] = (),
        **kwargs: Any,
    ) -> None:
        self.towers = towers
        self.vision_config = vision_config or {}
        self.text_config = text_config or {}
        self.taps = tuple(taps)
        self.image_size = image_size
        self.patch_size = patch_size
        self.joint_dim = joint_dim
        self.template = template
        self.num_blocks = num_blocks
        self.regions_per_class = regions_per_class
        self.softmax = softmax
        self.sharpness = sharpness
        self.threshold = threshold
        self.kmeans_steps = kmeans_steps
        self.empty_region = empty_region
        self.mask_prompt = mask_prompt
        self.mask_scale = mask_scale
        self.prompts = tuple(prompts)
        self.sam = sam
        self.sam_layers = sam_layers
        self.sam_masks = sam_masks
        self.sam_dim = sam_dim
        self.sam_mlp_dim = sam_mlp_dim
        self.text_token = text_token
        self.merge = merge
        self.appearance = appearance
        self.state = state
        self.correlation_residual = correlation_residual
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.window = window
        self.ffn_ratio = ffn_ratio
        self.embed_kernel = embed_kernel
        self.language_attention = language_attention
        self.skip_dims = tuple(skip_dims)
        self.decoder_dims = tuple(decoder_dims)
        self.max_classes = max_classes
        self.rejection = tuple(rejection)
        self.trained_on = tuple(trained_on)
        self.origins = tuple(origins)
        check_no_misspelling(kwargs, self.setting_names())
        self._check_choices()
        self._check_sizes()
        super().__init__(**kwargs)

    @property
    def num_sam_tokens(self) -> int:
        """Tokens of a class in SAM's blocks: SAM's own, those of its prompts, and its text."""
        num_points = self.regions_per_class + ("box" not in self.prompts)  # SAM's padding token
        return (
            NUM_OUTPUT_TOKENS
            + ("point" in self.prompts) * num_points
            + ("box" in self.prompts) * 2 * self.regions_per_class
            + self.text_token
        )

    @property
    def bytes_per_class(self) -> int:
        """Working memory that one class name of one picture needs at the widest place, in bytes."""
        patches = self.grid_size**2
        # SAM block: the class's patches before and after a layer, and its scores both ways.
        sam = patches * (3 * self.sam_dim + 3 * SAM_HEADS * self.num_sam_tokens)
        if self.sam_masks:  # The patches enlarged to twice and four times, each before and after.
            sam += patches * (4 * self.sam_dim + 2 * 16 * NUM_MASKS)
        # Fusion: the state, its queries, keys and values twice (windows are a copy), inner layer.
        fusion = patches * self.hidden_dim * (8 + 2 * self.ffn_ratio)
        # Decoder: the finest stage, before and after a convolution and its norm.
        decoder = 16 * patches * 4 * max(self.decoder_dims[1], self.decoder_dims[0] // 4)
        return _BYTES * max(sam, fusion, decoder)

    def sam_layers_of(self, block: int) -> tuple[int, ...]:
        """Which of SAM's two layers the ESC-Block of that index holds."""
        return (0, 1) if self.sam_layers == "both" else (block % 2,)

    def check_towers(self) -> None:
        """Refuse towers of an unknown kind."""
        tower_kind(self.towers)

    def _check_choices(self) -> None:
        self.check_towers()
        choices: dict[str, tuple[str, ...]] = {
            "sam": SAM_KINDS,
            "sam_layers": SAM_LAYERS,
            "appearance": APPEARANCES,
            "state": STATES,
            "softmax": get_args(Softmax),
            "mask_prompt": get_args(MaskPrompt),
            "empty_region": get_args(EmptyRegion),
            "merge": get_args(Merge),
            "language_attention": get_args(LanguageMode),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} {getattr(self, name)!r} is unknown: choose from {', '.join(allowed)}"
                )
        if self.sam_masks and self.sam == "none":
            raise ConfigError("sam_masks is set, but sam 'none' leaves no block to read masks off")
        known = get_args(PromptKind)
        if not self.prompts or set(self.prompts) - set(known):
            raise ConfigError(
                f"prompts {list(self.prompts)} are not some of {', '.join(known)}: name one or more"
            )

    def _check_sizes(self) -> None:
        check_whole_numbers({name: getattr(self, name) for name in _SIZES})
        check_whole_numbers({"max_classes": self.max_classes}, least=0)
        check_rejection(self.rejection)
        check_image_size(self.image_size, self.patch_size)
        check_pair("skip_dims", self.skip_dims)
        check_pair("decoder_dims", self.decoder_dims)
        check_kernel("embed_kernel", self.embed_kernel)
        for name, heads in (("hidden_dim", self.num_heads), ("sam_dim", 2 * SAM_HEADS)):
            if getattr(self, name) % heads:
                raise ConfigError(
                    f"{name} {getattr(self, name)} is not a multiple of {heads}: choose one that is"
                )
        for dim in self.decoder_dims:
            if dim % norm_groups(dim):
                raise ConfigError(
                    f"decoder_dims {list(self.decoder_dims)}: {dim} channels are not "
                    f"{norm_groups(dim)} equal groups: choose multiples of 16, or less than 32"
                )
        if not 0 < self.sharpness < math.inf:
            raise ConfigError(f"sharpness {self.sharpness} is not positive: choose 1 or more")
        if not math.isfinite(self.mask_scale):
            raise ConfigError(f"mask_scale {self.mask_scale} is not finite: choose 1 or more")
        if not 0 < self.threshold <= 1:
            raise ConfigError(
                f"threshold {self.threshold} is outside (0, 1]: it is a share of the best patch"
            )
        check_template(self.template)


def _vit_b_16() -> EscNetConfig:
    return EscNetConfig(
        vision_config={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
                       "num_attention_heads": 12, "image_size": 224, "patch_size": 16,
                       "projection_dim": 512},
        text_config={"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
                     "num_attention_heads": 8, "projection_dim": 512},
    )  # fmt: skip


def _vit_l_14() -> EscNetConfig:
    return EscNetConfig(
        vision_config={"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                       "num_attention_heads": 16, "image_size": 336, "patch_size": 14,
                       "projection_dim": 768},
        taps=(7, 15),
        text_config={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
                     "num_attention_heads": 12, "projection_dim": 768},
        image_size=336,
        patch_size=14,
        joint_dim=768,
    )  # fmt: skip


def _tiny() -> EscNetConfig:
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
             "num_attention_heads": 2, "projection_dim": 16}  # fmt: skip
    return EscNetConfig(
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        taps=(0, 1),
        text_config={**tower, "vocab_size": 300, "max_position_embeddings": 77,
                     "bos_token_id": 298, "eos_token_id": 299},
        image_size=32,
        patch_size=8,
        joint_dim=16,
        num_blocks=2,
        regions_per_class=2,
        kmeans_steps=3,
        sam="random",
        sam_dim=32,
        sam_mlp_dim=64,
        hidden_dim=16,
        num_heads=2,
        window=2,
        embed_kernel=3,
        skip_dims=(4, 4),
        decoder_dims=(8, 8),
        max_classes=0,
    )  # fmt: skip


PRESETS = {"vit-b-16": _vit_b_16, "vit-l-14": _vit_l_14, "tiny": _tiny}


def preset(name: str) -> EscNetConfig:
    """The settings of that name: vit-b-16, vit-l-14, or tiny (for tests).

    Raises:
        ConfigError: If there is none.
    """
    return of_preset(name, PRESETS)()
