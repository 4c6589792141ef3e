import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from escnet.training.loss import binary_loss, cross_loss, overlap_loss
from escnet.training.targets import NONE_OF_THEM, UNKNOWN

# Two names on 2 x 2 pixels: of the first name, of the second, of none of them, and unlabelled.
LOGITS = torch.tensor([[[[2.0, -1.0], [0.5, 3.0]], [[1.0, 0.0], [-2.0, 4.0]]]])
TARGET = torch.tensor([[[0, 1], [NONE_OF_THEM, UNKNOWN]]])
BOTH = torch.tensor([[True, True]])
LOSSES = (binary_loss, cross_loss, overlap_loss)


def positive(x: float) -> float:
    return math.log(1 + math.exp(-x))


def negative(x: float) -> float:
    return math.log(1 + math.exp(x))


LABELLED = [
    positive(2.0) + negative(1.0),
    negative(-1.0) + positive(0.0),
    negative(0.5) + negative(-2.0),
]


def test_binary_cross_entropy_is_the_mean_over_labelled_pixels_and_names() -> None:
    assert binary_loss(LOGITS, TARGET, BOTH).item() == pytest.approx(sum(LABELLED) / 6, rel=1e-5)


def test_unlabelled_pixels_can_count_as_negatives_of_every_name() -> None:
    total = sum(LABELLED) + negative(3.0) + negative(4.0)
    found = binary_loss(LOGITS, TARGET, BOTH, unlabelled="negative")
    assert found.item() == pytest.approx(total / 8, rel=1e-5)


def test_cross_entropy_is_the_mean_over_pixels_of_a_name() -> None:
    first = math.log(math.exp(2) + math.exp(1)) - 2
    second = math.log(math.exp(-1) + math.exp(0)) - 0
    found = cross_loss(LOGITS, TARGET, BOTH)
    assert found.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_names_that_nobody_looked_for_take_no_part() -> None:
    known = torch.tensor([[True, False]])
    target = TARGET.clone()
    target[0, 0, 1] = NONE_OF_THEM  # a source that does not annotate the second name has none of it
    found = binary_loss(LOGITS, target, known).item()
    total = positive(2.0) + negative(-1.0) + negative(0.5)
    assert found == pytest.approx(total / 3, rel=1e-5)
    cross = cross_loss(LOGITS, target, known).item()
    assert cross == pytest.approx(0.0, abs=1e-6)  # one name has nobody to compete with


def test_the_overlap_loss_by_hand() -> None:
    # Two pixels count: the first is name 0 with 0.731, the second name 1 with 0.731.
    share = 1 / (1 + math.exp(-1.0))
    iou = share / (1 + 1 - share)
    assert overlap_loss(LOGITS, TARGET).item() == pytest.approx(1 - iou, rel=1e-5)


def test_a_name_that_is_not_shown_has_no_overlap_to_lose() -> None:
    logits = torch.cat([LOGITS, torch.full((1, 1, 2, 2), -19.0)], dim=1)
    expected = overlap_loss(LOGITS, TARGET)
    torch.testing.assert_close(overlap_loss(logits, TARGET), expected, atol=1e-5, rtol=0)


def test_each_picture_has_its_own_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    target = torch.randint(UNKNOWN, 3, (2, 4, 4), generator=generator)
    for loss in LOSSES:
        alone = torch.cat([loss(logits[row : row + 1], target[row : row + 1]) for row in range(2)])
        torch.testing.assert_close(loss(logits, target), alone)


@pytest.mark.parametrize("loss", LOSSES)
def test_reordering_the_names_changes_nothing(loss: Callable[..., Tensor]) -> None:
    logits = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[0, 1, 2], [NONE_OF_THEM, UNKNOWN, 1]]])
    order = [2, 0, 1]
    place = torch.tensor([1, 2, 0])  # where each old index went
    moved = torch.where(target >= 0, place[target.clamp(min=0)], target)
    torch.testing.assert_close(loss(logits[:, order], moved), loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_better_map_costs_less(loss: Callable[..., Tensor]) -> None:
    right = torch.tensor([[[[4.0, -4.0], [-4.0, 4.0]], [[-4.0, 4.0], [4.0, -4.0]]]])
    target = torch.tensor([[[0, 1], [1, 0]]])
    assert loss(right, target) < 0.1
    assert loss(-right, target) > 0.9


def test_an_unknown_pixel_has_no_gradient_and_the_others_have() -> None:
    logits = LOGITS.clone().requires_grad_()
    (binary_loss(logits, TARGET) + cross_loss(logits, TARGET)).backward()
    assert logits.grad is not None
    assert (logits.grad[0, :, 1, 1] == 0).all()
    assert (logits.grad[0, :, 0] != 0).all()
    assert (logits.grad[0, :, 1, 0] > 0).all()  # of no name: both go down


@pytest.mark.parametrize("loss", LOSSES)
def test_a_picture_without_a_label_has_no_loss_and_a_finite_gradient(
    loss: Callable[..., Tensor],
) -> None:
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, torch.full_like(TARGET, UNKNOWN)).sum()
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_under_autocast_the_loss_and_its_gradient_are_those_of_single_precision(
    loss: Callable[..., Tensor],
) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 5, (2, 8, 8), generator=generator)
    # Sure of the right name, as late in a training: what is left of the loss is a small difference.
    truth = torch.nn.functional.one_hot(target, 5).permute(0, 3, 1, 2)
    logits = 40.0 * truth - 20.0 + torch.randn(2, 5, 8, 8, generator=generator)
    found = []
    for enabled in (False, True):
        own = logits.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(own, target)
        value.sum().backward()
        assert (value >= 0).all()
        found.append((value.detach(), own.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-9)
    exact = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.double(), truth.double(), reduction="none"
    ).mean(dim=(1, 2, 3))
    if loss is binary_loss:
        torch.testing.assert_close(found[1][0].double(), exact, rtol=1e-3, atol=1e-6)
