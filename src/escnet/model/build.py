"""Settings to modules: the one place that knows both."""

from torch import nn

from escnet.model.config import SAM_HEADS, EscNetConfig
from escnet.model.decoder import Decoder
from escnet.model.esc_block import EscBlock
from escnet.model.fusion import Fusion
from escnet.model.mask_head import MaskHead
from escnet.model.prompt_encoder import PromptEncoder
from escnet.model.pseudo_prompt import PseudoPromptGenerator
from escnet.model.sam_block import SamBlock
from escnet.model.two_way import TwoWayTransformer
from escnet.towers.table import tower_kind
from escnet.towers.tower import Towers


def build_towers(config: EscNetConfig) -> Towers:
    """The towers that the settings name."""
    return tower_kind(config.towers).build(
        config.vision_config, config.text_config, taps=(config.taps[0], config.taps[1])
    )


def build_sam_width(config: EscNetConfig, channels: int) -> nn.Conv2d:
    """From what SAM sees of the picture, which has those channels, to its width."""
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
