"""Class-agnostic masks and their classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from escnet.inference.methods.method import ViewLogits
from escnet.inference.sam import proposals
from escnet.inference.sam.prompting import Sam
from escnet.inference.sam.proposals import (
    MaskProposals,
    cropped,
    paint_regions,
    propose,
    region_means,
    stability,
    with_rest,
    without_repetitions,
)
from tests.answers import answers


def test_a_mask_whose_size_hangs_on_the_threshold_is_unstable() -> None:
    logits = torch.tensor([[[5.0, 5.0, -5.0, -5.0]], [[5.0, 0.5, 0.5, -0.5]], [[-5.0] * 4]])
    assert stability(logits).tolist() == [1.0, 0.25, 0.0]


def test_of_repetitions_the_best_stays() -> None:
    masks = torch.tensor([[[1, 1, 1, 0]], [[1, 1, 1, 1]], [[0, 0, 0, 1]]]).bool()
    assert without_repetitions(masks, torch.tensor([0.9, 0.95, 0.8])) == [1, 2]


def test_a_region_has_the_mean_of_the_maps_inside() -> None:
    maps = torch.tensor([[[1.0, 3.0, 5.0, 7.0]], [[0.0, 0.0, 1.0, 1.0]]])
    region = with_rest(torch.tensor([[[1, 1, 0, 0]]]).bool()).float()
    assert region[1].tolist() == [[0, 0, 1, 1]]
    score = region_means(maps, region)
    assert score.tolist() == [[2.0, 6.0], [0.0, 1.0]]
    torch.testing.assert_close(
        paint_regions(score, region, torch.tensor([0.9])),
        torch.tensor([[[2.0, 2.0, 6.0, 6.0]], [[0.0, 0.0, 1.0, 1.0]]]),
    )


def test_where_masks_overlap_the_better_one_counts_more() -> None:
    region = with_rest(torch.tensor([[[1, 0]], [[1, 1]]]).bool()).float()
    score = torch.tensor([[0.0, 2.0, 9.0]])
    found = paint_regions(score, region, torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(found, torch.tensor([[[0.5, 2.0]]]))


def test_a_crop_is_the_box_of_a_mask_and_grey_beside_it() -> None:
    view = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    mask = torch.tensor([[0, 0, 0], [0, 1, 0]]).bool()
    (pixels, inside), (slanted, own) = cropped(
        view, torch.stack([mask, torch.tensor([[0, 0, 1], [0, 1, 0]]).bool()])
    )
    assert (pixels == view[2:4, 2:4]).all()
    assert inside.all()
    assert own.tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]] * 2
    assert (slanted[:2, :2] == (123, 117, 104)).all()
    assert (slanted[:2, 2:] == view[:2, 4:]).all()


class Colours:
    """A base method whose logits are the mean red, green and blue of a view, everywhere."""

    name, template, view_size, num_tokens = "colours", "{}", 8, 0
    settings = {"some": 1}  # noqa: RUF012
    rejection = ()

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

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
        self.seen += views
        grid = [
            F.interpolate(torch.tensor(v).permute(2, 0, 1)[None].float(), (4, 4)) for v in views
        ]
        return [ViewLogits(one[0].numpy(), [0, 1, 2]) for one in grid]


def test_crops_are_classified_each_as_a_picture_of_its_own(
    small_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = np.zeros((8, 8, 3), np.uint8)
    view[:, :4, 0], view[:, 4:, 1] = 200, 100  # red on the left, green on the right
    masks = torch.zeros(2, 256, 256, dtype=torch.bool)
    masks[0, :, :128] = masks[1, :128, 128:] = True
    monkeypatch.setattr(proposals, "propose", lambda *_: (masks, torch.tensor([0.9, 0.9])))
    base = Colours()
    method = MaskProposals(base, small_sam, classified_by="crop")
    found = answers(method, [view], np.zeros((3, 2), np.float32))[0].logits
    assert [one.shape for one in base.seen] == [(8, 8, 3), (8, 4, 3), (4, 4, 3)]
    assert found[:, 0, 0].tolist() == [200, 0, 0]
    assert found[:, 0, 255].tolist() == [0, 100, 0]
    # In no mask: the mean of the view's own maps, into which a little of the left is blended.
    assert found[:, 255, 255].tolist() == pytest.approx([12.5, 93.75, 0])
    assert method.settings["classified_by"] == "crop"


def test_an_even_grid_of_points_gives_masks_of_the_pictures_grid(
    small_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "_LEAST_QUALITY", -1e9)
    monkeypatch.setattr(proposals, "_LEAST_STABILITY", 0.0)
    picture = small_sam.encode(np.full((64, 32, 3), 90, np.uint8))
    masks, quality = propose(small_sam, picture, points_per_side=3)
    assert masks.shape[1:] == (256, 128)
    assert 1 <= len(masks) <= 3 * 9
    assert quality.tolist() == sorted(quality.tolist(), reverse=True)


def test_without_any_mask_the_rest_is_one_region() -> None:
    region = with_rest(torch.zeros(0, 2, 2, dtype=torch.bool)).float()
    found = paint_regions(torch.tensor([[3.0]]), region, torch.zeros(0))
    assert found.tolist() == [[[3.0, 3.0], [3.0, 3.0]]]
