import math

import pytest
import torch
from torch import Tensor

from escnet.mini.training.loss import partial_label_loss
from escnet.training.targets import NONE_OF_THEM, UNKNOWN

LOGITS = [[[2.0, -1.0], [0.5, 3.0]], [[-1.0, 1.0], [0.0, -2.0]]]
TARGET = [[0, 1], [NONE_OF_THEM, UNKNOWN]]


def loss_of(logits: Tensor, target: list[list[int]], binary: float, cross: float) -> Tensor:
    return partial_label_loss(
        logits, torch.tensor(target), binary_weight=binary, cross_weight=cross
    )


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_the_binary_loss_of_a_hand_computed_map() -> None:
    # The unknown pixel counts nowhere; the one of no name is a negative for both.
    expected = (
        (softplus(-2.0) + softplus(-1.0))  # name 0 is there, name 1 is not
        + (softplus(-1.0) + softplus(-1.0))  # the other way round
        + (softplus(0.5) + softplus(0.0))  # neither is
    ) / 3
    assert loss_of(torch.tensor(LOGITS), TARGET, 1.0, 0.0).item() == pytest.approx(expected)


def test_the_cross_loss_of_a_hand_computed_map() -> None:
    # Only pixels of a name: the right one is ahead by 3, then by 2.
    expected = (softplus(-3.0) + softplus(-2.0)) / 2
    assert loss_of(torch.tensor(LOGITS), TARGET, 0.0, 1.0).item() == pytest.approx(expected)


def test_the_two_losses_add_up_with_their_weights() -> None:
    logits = torch.tensor(LOGITS)
    binary, cross = (loss_of(logits, TARGET, *weights) for weights in ((1.0, 0.0), (0.0, 1.0)))
    torch.testing.assert_close(loss_of(logits, TARGET, 2.0, 3.0), 2 * binary + 3 * cross)


def test_the_overlap_loss_of_a_hand_computed_map() -> None:
    # Two pixels count: the first is name 0 with 0.953, the second name 1 with 0.881.
    first, second = 1 / (1 + math.exp(-3.0)), 1 / (1 + math.exp(-2.0))
    ious = (first / (1 + 1 - second), second / (1 + 1 - first))
    logits, target = torch.tensor(LOGITS), torch.tensor(TARGET)
    with_it, without = (
        partial_label_loss(logits, target, overlap_weight=weight) for weight in (2.0, 0.0)
    )
    assert (with_it - without).item() == pytest.approx(2 * (1 - sum(ious) / 2), abs=1e-6)


def test_a_name_that_is_not_shown_has_no_overlap_to_lose() -> None:
    logits, target = torch.tensor([*LOGITS, [[-9.0] * 2] * 2]), torch.tensor(TARGET)
    losses = [
        partial_label_loss(maps, target, binary_weight=0.0, cross_weight=0.0, overlap_weight=1.0)
        for maps in (logits, logits[:2])
    ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-3, rtol=0)
    nothing = partial_label_loss(logits, torch.full((2, 2), UNKNOWN), overlap_weight=1.0)
    assert nothing.item() == 0


def test_an_unknown_pixel_has_no_gradient_and_the_others_have() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    loss_of(logits, TARGET, 1.0, 1.0).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1, 1] == 0).all()
    assert (logits.grad[:, 0] != 0).all()
    assert (logits.grad[:, 1, 0] > 0).all()  # of no name: both go down


def test_a_map_of_unknown_pixels_costs_nothing_and_changes_nothing() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    loss = loss_of(logits, [[UNKNOWN] * 2] * 2, 1.0, 1.0)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_reordering_the_names_changes_nothing() -> None:
    logits = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 1, 2], [NONE_OF_THEM, UNKNOWN, 1]])
    order = [2, 0, 1]
    place = torch.tensor([1, 2, 0])  # where each old index went
    moved = torch.where(target >= 0, place[target.clamp(min=0)], target)
    torch.testing.assert_close(
        partial_label_loss(logits[order], moved), partial_label_loss(logits, target)
    )


def test_a_better_map_costs_less() -> None:
    target = [[0, 1], [1, 0]]
    right = torch.tensor([[[4.0, -4.0], [-4.0, 4.0]], [[-4.0, 4.0], [4.0, -4.0]]])
    assert loss_of(right, target, 1.0, 1.0) < 0.1
    assert loss_of(-right, target, 1.0, 1.0) > 5


def test_a_map_without_a_label_costs_nothing() -> None:
    target = torch.full((2, 2), UNKNOWN)
    assert partial_label_loss(torch.tensor(LOGITS), target).item() == 0


def test_under_autocast_the_loss_is_that_of_single_precision() -> None:
    logits = 9 * torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(0))
    target = torch.randint(UNKNOWN, 5, (6, 6), generator=torch.Generator().manual_seed(1))
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(partial_label_loss(logits, target, overlap_weight=1.0))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=0)
