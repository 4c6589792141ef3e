"""Our mask decoder against transformers' own, whose weights it takes."""

import pytest
import torch
from torch import Tensor
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import (
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from escnet.inference.sam.decoder import MaskDecoder

WIDTH, SIZE_HW = 16, (198, 255)  # neither a multiple of four


@pytest.fixture(scope="module")
def model() -> SamModel:
    torch.manual_seed(0)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_pos_feats=8,
            output_channels=WIDTH,
        ).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=WIDTH).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=WIDTH, mlp_dim=24, num_attention_heads=2, iou_head_hidden_dim=20,
            layer_norm_eps=1e-5,
        ).to_dict(),
    )  # fmt: skip
    model = SamModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # zeros and small weights would hide a mistake
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.inference_mode()
def theirs(
    model: SamModel, embedding: Tensor, sparse: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Every prompt by itself, on the whole square."""
    point = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1)
    masks, qualities = [], []
    for index in range(len(sparse)):
        own = None if mask is None else mask[index : index + 1, None]
        _, dense = model.prompt_encoder(*point, None, own)
        found, quality = model.mask_decoder(
            image_embeddings=embedding,
            image_positional_embeddings=model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse[index][None, None],
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )[:2]
        masks.append(found[0, 0])
        qualities.append(quality[0, 0])
    return torch.stack(masks), torch.stack(qualities)


@pytest.mark.parametrize("has_mask", [True, False])
@torch.inference_mode()
def test_masks_and_qualities_are_those_of_transformers(model: SamModel, has_mask: bool) -> None:
    embedding, sparse = torch.randn(1, WIDTH, 64, 64), torch.randn(6, 3, WIDTH)
    mask = torch.randn(6, 256, 256) if has_mask else None
    expected, expected_quality = theirs(model, embedding, sparse, mask)
    position = model.get_image_wide_positional_embeddings()
    found, quality = MaskDecoder(model)(embedding, position, sparse, mask, SIZE_HW)
    assert expected.std() > 0.05
    torch.testing.assert_close(
        found, expected[..., : SIZE_HW[0], : SIZE_HW[1]], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(quality, expected_quality, rtol=1e-4, atol=1e-4)
