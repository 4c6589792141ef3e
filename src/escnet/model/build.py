"""Settings to modules: the one place that knows both."""

from typing import Any, cast

from torch import nn

from escnet.errors import ConfigError
from escnet.model.config import SAM_HEADS, EscNetConfig
from escnet.model.decoder import Decoder
from escnet.model.detail import DetailLogits
from escnet.model.esc_block import EscBlock
from escnet.model.fusion import Fusion
from escnet.model.mask_head import MaskHead
from escnet.model.presence import Presence
from escnet.model.prompt_encoder import PromptEncoder
from escnet.model.pseudo_prompt import PseudoPromptGenerator
from escnet.model.sam_block import SamBlock
from escnet.model.text import ClipText, SentenceText, SiglipText
from escnet.model.two_way import TwoWayTransformer
from escnet.model.upsampling import GuidedUpsampling
from escnet.model.vision import ClipVision, Dinov2Vision, PairedVision, SiglipVision

VisionTower = ClipVision | SiglipVision | Dinov2Vision | PairedVision
TextTower = ClipText | SiglipText | SentenceText


def build_vision(config: EscNetConfig) -> VisionTower:
    """The vision tower that the settings name.

    Raises:
        ConfigError: If they want a branch or maps of it that it has not.
    """
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config.vision_options.items()
    }
    if config.detail and config.vision != "paired":
        raise ConfigError(
            f"detail needs a branch of the vision tower, which {config.vision!r} has not: turn it "
            "off, or take the tower 'paired'"
        )
    if config.sam_input == "tower" and config.vision != "paired":
        raise ConfigError(
            f"sam_input 'tower' needs the nets' own maps, which the tower {config.vision!r} does "
            "not give: choose 'joint', or take the tower 'paired'"
        )
    if config.vision == "clip":
        return ClipVision(config.vision_config, **options)
    if config.vision == "siglip":
        return SiglipVision(config.vision_config, **options)
    if config.vision == "dinov2":
        return Dinov2Vision(config.vision_config, joint_dim=config.joint_dim, **options)
    return PairedVision(
        config.vision_config,
        joint_dim=config.joint_dim,
        patch_size=config.patch_size,
        has_detail=config.detail,
        gives_inner=config.sam_input == "tower",
        **options,
    )


def build_text(config: EscNetConfig) -> TextTower:
    """The text tower that the settings name."""
    if config.text == "clip":
        return ClipText(config.text_config)
    if config.text == "siglip":
        return SiglipText(config.text_config)
    return SentenceText(config.text_config, joint_dim=config.joint_dim)


def build_sam_width(config: EscNetConfig, vision: VisionTower) -> nn.Conv2d:
    """From what SAM sees of the picture to its width."""
    is_joint = config.sam_input == "joint"
    channels = config.joint_dim if is_joint else cast("PairedVision", vision).inner_channels
    return nn.Conv2d(channels, config.sam_dim, 1)


def build_prompt_encoder(config: EscNetConfig) -> PromptEncoder | None:
    """SAM's prompt encoder, which all ESC-Blocks share; None without SAM blocks."""
    return None if config.sam == "none" else PromptEncoder(config.sam_dim)


def build_embedding(config: EscNetConfig) -> nn.Conv2d:
    """From one map of a class to its state."""
    kernel = config.embed_kernel
    return nn.Conv2d(1, config.hidden_dim, kernel, padding=kernel // 2)


def build_blocks(config: EscNetConfig) -> nn.ModuleList:
    """The ESC-Blocks; none shares weights with another."""
    return nn.ModuleList(_build_block(config, index) for index in range(config.num_blocks))


def _build_block(config: EscNetConfig, index: int) -> EscBlock:
    generator = PseudoPromptGenerator(
        num_regions=config.regions_per_class,
        softmax=config.softmax,
        sharpness=config.sharpness,
        threshold=config.threshold,
        kmeans_steps=config.kmeans_steps,
        empty_region=config.empty_region,
        mask_prompt=config.mask_prompt,
        mask_scale=config.mask_scale,
    )
    sam, embed_mask = None, None
    if config.sam != "none":
        two_way = TwoWayTransformer(
            width=config.sam_dim,
            num_heads=SAM_HEADS,
            mlp_width=config.sam_mlp_dim,
            layers=config.sam_layers_of(index),
        )
        mask_head = None
        if config.sam_masks:
            mask_head = MaskHead(width=config.sam_dim, num_heads=SAM_HEADS)
            embed_mask = build_embedding(config)
        sam = SamBlock(
            two_way,
            mask_head,
            width=config.sam_dim,
            prompts=config.prompts,
            merge=config.merge,
            text_dim=config.joint_dim if config.text_token else None,
        )
    fusion = Fusion(
        hidden_dim=config.hidden_dim,
        appearance_dim=config.sam_dim,
        text_dim=config.joint_dim,
        num_heads=config.num_heads,
        window=config.window,
        ffn_ratio=config.ffn_ratio,
        language_attention=config.language_attention,
    )
    return EscBlock(generator, sam, fusion, embed_mask)


def build_decoder(config: EscNetConfig, skip_channels: tuple[int, int]) -> Decoder:
    """The mask decoder for a tower with these skips."""
    return Decoder(
        hidden_dim=config.hidden_dim,
        skip_channels=skip_channels,
        skip_dims=(config.skip_dims[0], config.skip_dims[1]),
        dims=(config.decoder_dims[0], config.decoder_dims[1]),
    )


def build_presence(config: EscNetConfig, vision: VisionTower) -> Presence | None:
    """What tells the class names that a picture shows, if the settings want it.

    Raises:
        ConfigError: If they do and the tower has no summary of a picture.
    """
    if not config.presence:
        return None
    if not vision.summary_channels:
        raise ConfigError(
            f"presence needs a summary of the picture, which the vision tower {config.vision!r} "
            "does not give: turn it off, or take the tower 'paired'"
        )
    return Presence(summary_dim=vision.summary_channels, joint_dim=config.joint_dim)


def build_detail(config: EscNetConfig) -> DetailLogits | None:
    """What turns the tower's pixel embeddings into logits, if the settings want it."""
    return DetailLogits(joint_dim=config.joint_dim) if config.detail else None


def build_upsampling(config: EscNetConfig, vision: VisionTower) -> GuidedUpsampling | None:
    """What enlarges the logits along edges, if the settings want it.

    Raises:
        ConfigError: If they do and the tower has no map that is fine enough.
    """
    if config.upsampling == "bilinear":
        return None
    if not vision.edge_channels:
        raise ConfigError(
            f"upsampling 'guided' needs a map at half the picture's resolution, which the vision "
            f"tower {config.vision!r} has not: choose 'bilinear', or the tower 'paired'"
        )
    return GuidedUpsampling(
        fine_channels=vision.edge_channels, coarse_channels=vision.skip_channels[1]
    )
