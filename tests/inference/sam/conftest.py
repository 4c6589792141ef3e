"""A small SAM with random weights, for the methods that ask one."""

import pytest
import torch
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import (
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from escnet.inference.sam.prompting import Sam


@pytest.fixture
def small_sam() -> Sam:
    torch.manual_seed(0)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_pos_feats=8,
            output_channels=16,
        ).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=16).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
        ).to_dict(),
    )  # fmt: skip
    return Sam(SamModel(config), lambda image: image[:, :1, ::16, ::16].expand(-1, 16, -1, -1))
