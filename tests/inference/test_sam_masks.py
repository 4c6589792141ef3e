"""Maps sharpened by SAM's masks."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import (
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from escnet.errors import ConfigError
from escnet.inference.method import ViewLogits
from escnet.inference.sam_masks import (
    TrainingFreeSam,
    agreement,
    negative_points,
    read_sam_name,
    sharpened,
    winners,
)
from escnet.inference.sam_prompting import Sam, in_square


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


class Base:
    """A method whose maps are given."""

    name, template, view_size = "given", "{}", 8
    settings = {"some": 1}  # noqa: RUF012

    def __init__(self, maps: torch.Tensor) -> None:
        self.maps = maps

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.zeros(len(texts), 2)

    def logits(
        self,
        views: Sequence[np.ndarray],
        text_embedding: torch.Tensor,  # noqa: ARG002
    ) -> list[ViewLogits]:
        return [ViewLogits(self.maps, list(range(len(self.maps)))) for _ in views]


def test_agreement_is_pearsons_coefficient() -> None:
    correlation = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    masks = torch.tensor([[[1.0, 0], [0, 0]], [[0, 1.0], [1, 1]], [[1.0, 1], [0, 0]]])
    expected = [float(np.corrcoef(m.flatten(), correlation.flatten())[0, 1]) for m in masks]
    torch.testing.assert_close(agreement(masks, correlation), torch.tensor(expected))


def test_a_mask_gets_the_levels_inside_and_outside_that_the_map_has() -> None:
    correlation = torch.tensor([[4.0, 2.0], [1.0, 1.0]])
    mask = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    found = sharpened(correlation, mask, torch.ones(1), share=1.0)
    torch.testing.assert_close(found, torch.tensor([[3.0, 3.0], [1.0, 1.0]]))
    half = sharpened(correlation, mask, torch.ones(1), share=0.5)
    torch.testing.assert_close(half, torch.tensor([[3.5, 2.5], [1.0, 1.0]]))


def test_negative_points_lie_low_and_far_apart() -> None:
    correlation = torch.ones(5, 5)
    correlation[0, 0] = correlation[0, 4] = correlation[4, 0] = correlation[4, 4] = 0.0
    correlation[4, 4] = -1.0
    points = {tuple(point) for point in negative_points(correlation).mul(10).round().tolist()}
    assert points == {(1.0, 1.0), (9.0, 1.0), (1.0, 9.0), (9.0, 9.0)}


def test_classes_that_win_nowhere_are_no_winners() -> None:
    maps = torch.tensor([[[0.0, 0.0, 2.0]], [[1.0, 1.0, 1.0]], [[0.5, 0.0, 0.0]]])
    assert winners(maps) == [1, 0]


def test_without_a_share_the_maps_are_only_enlarged() -> None:
    torch.manual_seed(1)
    base = Base(torch.randn(3, 6, 6))
    view = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    found = TrainingFreeSam(base, small_sam(), share=0.0).logits([view], torch.zeros(3, 2))[0]
    expected = torch.nn.functional.interpolate(base.maps[None], size=(128, 256), mode="bilinear")[0]
    torch.testing.assert_close(found.logits, expected)
    sharp = TrainingFreeSam(base, small_sam()).logits([view], torch.zeros(3, 2))[0].logits
    assert not torch.allclose(sharp, expected)


def test_prompts_are_answered_the_same_together_and_alone() -> None:
    sam = small_sam()
    picture = sam.encode(np.full((64, 32, 3), 90, np.uint8))
    point, mask = torch.rand(3, 2, 2), torch.randn(3, 6, 6)
    together = sam.answer(picture, point, torch.ones(3, 2), mask)
    assert together.logits.shape == (3, 3, 256, 128)
    alone = sam.answer(picture, point[1:2], torch.ones(1, 2), mask[1:2])
    torch.testing.assert_close(together.logits[1:2], alone.logits, rtol=1e-4, atol=1e-6)


def test_a_mask_prompt_lies_where_the_picture_lies() -> None:
    square = in_square(torch.tensor([[[1.0, 3.0], [2.0, 3.0]]]), (128, 256))
    assert (square[0, 128:] == 1).all()
    assert square[0, 0, 255] == 3


def test_a_name_without_sam_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks a part: write"):
        read_sam_name("mini+sam:", device="cpu")
