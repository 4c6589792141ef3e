"""Maps sharpened by SAM's masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from escnet.inference.methods.method import ViewLogits
from escnet.inference.sam.decoder import MaskDecoder
from escnet.inference.sam.masks import (
    TrainingFreeSam,
    answers_for,
    blurred,
    consensus,
    mask_share,
    negative_points,
    peak_point,
    sharpened,
    winners,
    with_unions,
)
from escnet.inference.sam.prompting import Sam, in_square
from escnet.model.mask_head import agreement, levels
from tests.answers import answers


class Base:
    """A method whose maps are given."""

    name, template, view_size, num_tokens = "given", "{}", 8, 0
    settings = {"some": 1}  # noqa: RUF012
    rejection = ()

    def __init__(self, maps: np.ndarray) -> None:
        self.maps = maps

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        return [text.encode() for text in texts]

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), 2), np.float32)

    def encode_views(self, views: Sequence[np.ndarray]) -> list[Any]:
        return list(views)

    def logits(
        self,
        views: Sequence[np.ndarray],
        text_embedding: np.ndarray,  # noqa: ARG002
        owner: Sequence[int] | None = None,  # noqa: ARG002
    ) -> list[ViewLogits]:
        return [ViewLogits(self.maps, list(range(len(self.maps)))) for _ in views]


def test_a_mask_gets_the_levels_inside_and_outside_that_the_map_has() -> None:
    correlation = torch.tensor([[4.0, 2.0], [1.0, 1.0]])
    mask = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert [float(level) for level in levels(correlation, mask)] == [1.0, 3.0]
    masks = mask.expand(5, -1, -1)
    found = sharpened(correlation, masks, torch.ones(5), share=1.0)
    torch.testing.assert_close(found, torch.tensor([[3.0, 3.0], [1.0, 1.0]]))
    half = sharpened(correlation, masks, torch.ones(5), share=0.5)
    torch.testing.assert_close(half, torch.tensor([[3.5, 2.5], [1.0, 1.0]]))


def test_of_two_objects_with_a_mask_each_the_union_counts_most() -> None:
    correlation = torch.tensor([[4.0, 0.0, 4.0, 0.0]])
    each = torch.tensor([[[1.0, 0, 0, 0]], [[0, 0, 1.0, 0]], [[0, 0, 0, 1.0]]])
    masks, quality = with_unions(correlation, each, torch.tensor([0.9, 0.7, 0.9]))
    assert len(masks) == 3 + 3
    best = int((agreement(masks, correlation) * quality).argmax())
    assert masks[best].tolist() == [[1.0, 0.0, 1.0, 0.0]]
    assert float(quality[best]) == pytest.approx(0.8)
    mask = consensus(correlation, masks, quality)
    alone = consensus(correlation, each, torch.tensor([0.9, 0.7, 0.9]))
    assert mask[0, 2] > 0.8 > alone[0, 2]


def test_a_mask_that_agrees_more_or_is_better_counts_more() -> None:
    correlation = torch.tensor([[3.0, 2.0, 0.0, 0.0]])
    masks = torch.tensor([[[1.0, 1, 0, 0]], [[0, 0, 1.0, 1]]])
    assert consensus(correlation, masks, torch.ones(2))[0, 0] > 0.99
    same = torch.tensor([[[1.0, 1, 0, 0]], [[1.0, 1, 1, 0]]])
    doubted = consensus(correlation, same, torch.tensor([0.3, 1.0]))
    assert doubted[0, 2] > 0.9


def test_the_less_of_a_map_a_mask_explains_the_larger_its_share() -> None:
    mask = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    clean, noisy = torch.tensor([[1.0, 0.9, 0.1, 0.0]]), torch.tensor([[1.0, 0.2, 0.6, 0.0]])
    shares = [mask_share(correlation, mask) for correlation in (mask, clean, noisy)]
    assert shares[0] == pytest.approx(0, abs=1e-5)
    assert 0 < shares[1] < 0.2
    assert 0.8 < shares[2] < 1
    unexplained = 1 / float(np.corrcoef(noisy[0], mask[0])[0, 1]) ** 2 - 1
    assert shares[2] == pytest.approx(unexplained / (unexplained + 0.5), rel=1e-4)
    found = sharpened(noisy, mask[None].expand(3, -1, -1), torch.ones(3))
    expected = (1 - shares[2]) * noisy + shares[2] * torch.tensor([[0.6, 0.6, 0.3, 0.3]])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_blurred_peak_is_where_more_than_one_patch_is_high() -> None:
    correlation = torch.zeros(12, 12)
    correlation[2, 9] = 1.2  # alone
    correlation[6:9, 3:6] = 1.0
    assert peak_point(correlation).tolist() == [[pytest.approx(9.5 / 12), pytest.approx(2.5 / 12)]]
    blurry = blurred(correlation)
    assert peak_point(blurry).tolist() == [[pytest.approx(4.5 / 12), pytest.approx(7.5 / 12)]]
    offset = torch.arange(12.0)
    weight = torch.exp(-((offset[:, None] - 4) ** 2) / 2)[:, 0]
    weight = weight / weight[0:9].sum()  # a Gaussian that ends at four patches
    expected = (weight[3:6].sum() * torch.exp(-((offset - 7) ** 2) / 2)[6:9].sum()) / torch.exp(
        -((offset - 7) ** 2) / 2
    )[3:12].sum()
    torch.testing.assert_close(blurry[7, 4], expected, rtol=1e-3, atol=1e-4)


def test_the_answers_are_to_all_points_then_to_the_peak_then_to_each_point(small_sam: Sam) -> None:
    picture = small_sam.encode(np.full((64, 64, 3), 90, np.uint8))
    correlation = torch.zeros(6, 6)
    correlation[1:3, 1:3], correlation[4, 4] = 0.95, 1.0
    answers = answers_for(small_sam, picture, correlation)
    assert answers.logits.shape[0] == len(answers.quality) == 3 * (1 + 1 + 5)
    away = negative_points(correlation)
    peak = torch.cat([peak_point(blurred(correlation)), away])
    assert not torch.equal(peak[0], peak_point(correlation)[0])
    label = torch.tensor([[1.0, 0, 0, 0, 0]])
    mask = torch.nn.functional.interpolate(correlation[None, None], scale_factor=4, mode="bilinear")
    expected = small_sam.answer(picture, peak[None], label, 2 * mask[0] - 1).logits[0]
    torch.testing.assert_close(answers.logits[3:6], expected, rtol=1e-4, atol=1e-7)
    # The five regions are the five patches, so the last answers are to one patch each.
    point = torch.tensor([[[4.5 / 6, 4.5 / 6]]])
    alone = small_sam.answer(picture, point, torch.ones(1, 1)).logits[0]
    differences = [(answers.logits[3 * k : 3 * k + 3] - alone).abs().max() for k in range(2, 7)]
    assert min(differences) < 1e-5


def test_negative_points_lie_low_and_far_apart() -> None:
    correlation = torch.ones(5, 5)
    correlation[0, 0] = correlation[0, 4] = correlation[4, 0] = correlation[4, 4] = 0.0
    correlation[4, 4] = -1.0
    points = {tuple(point) for point in negative_points(correlation).mul(10).round().tolist()}
    assert points == {(1.0, 1.0), (9.0, 1.0), (1.0, 9.0), (9.0, 9.0)}


def test_classes_that_win_nowhere_are_no_winners() -> None:
    maps = torch.tensor([[[0.0, 0.0, 2.0]], [[1.0, 1.0, 1.0]], [[0.5, 0.0, 0.0]]])
    assert winners(maps) == [1, 0]


def test_without_a_share_the_maps_are_only_enlarged(small_sam: Sam) -> None:
    base = Base(np.random.default_rng(1).normal(size=(3, 6, 6)).astype(np.float32))
    text = np.zeros((3, 2), np.float32)
    view = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    found = answers(TrainingFreeSam(base, small_sam, share=0.0), [view], text)[0]
    maps = torch.from_numpy(base.maps)[None]
    expected = torch.nn.functional.interpolate(maps, size=(128, 256), mode="bilinear")[0].numpy()
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5, atol=1e-5)
    sharp = answers(TrainingFreeSam(base, small_sam), [view], text)[0].logits
    assert not np.allclose(sharp, expected)


def test_prompts_are_answered_the_same_together_and_alone(small_sam: Sam) -> None:
    picture = small_sam.encode(np.full((64, 32, 3), 90, np.uint8))
    point, mask = torch.rand(3, 2, 2), torch.randn(3, 6, 6)
    together = small_sam.answer(picture, point, torch.ones(3, 2), mask)
    assert together.logits.shape == (3, 3, 256, 128)
    alone = small_sam.answer(picture, point[1:2], torch.ones(1, 2), mask[1:2])
    torch.testing.assert_close(together.logits[1:2], alone.logits, rtol=1e-4, atol=1e-6)


def test_a_box_is_a_prompt_of_fractions_of_the_picture(small_sam: Sam) -> None:
    picture = small_sam.encode(np.full((64, 32, 3), 90, np.uint8))
    none, label = torch.zeros(1, 1, 2), -torch.ones(1, 1)
    box = torch.tensor([[0.25, 0.5, 0.75, 1.0]])
    found = small_sam.answer(picture, none, label, box_xyxy=box)
    # The picture is 512 pixels wide in SAM's square of 1024.
    pixels = torch.tensor([[[128.0, 512.0, 384.0, 1024.0]]]) - 0.5
    sparse, _ = small_sam.model.prompt_encoder(none[:, None], label[:, None], pixels, None)
    position = small_sam.model.get_image_wide_positional_embeddings()
    expected, _ = MaskDecoder(small_sam.model)(
        picture.embedding, position, sparse[:, 0], None, picture.size_hw
    )
    torch.testing.assert_close(found.logits, expected, rtol=1e-4, atol=1e-6)
    without = small_sam.answer(picture, none, label).logits
    assert not torch.allclose(found.logits, without, rtol=0.1, atol=0)


def test_a_mask_prompt_lies_where_the_picture_lies() -> None:
    square = in_square(torch.tensor([[[1.0, 3.0], [2.0, 3.0]]]), (128, 256))
    assert (square[0, 128:] == 1).all()
    assert square[0, 0, 255] == 3
