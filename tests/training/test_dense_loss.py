import math

import pytest
import torch
from torch import Tensor

from escnet.training.dense_loss import dense_loss
from escnet.training.targets import NONE_OF_THEM, UNKNOWN

# Two names on 2 x 2 pixels: of the first name, of the second, of none of them, and unlabelled.
LOGITS = torch.tensor([[[[2.0, -1.0], [0.5, 3.0]], [[1.0, 0.0], [-2.0, 4.0]]]])
TARGET = torch.tensor([[[0, 1], [NONE_OF_THEM, UNKNOWN]]])
BOTH = torch.tensor([[True, True]])


def positive(x: float) -> float:
    return math.log(1 + math.exp(-x))


def negative(x: float) -> float:
    return math.log(1 + math.exp(x))


LABELLED = [
    positive(2.0) + negative(1.0),
    negative(-1.0) + positive(0.0),
    negative(0.5) + negative(-2.0),
]


def loss_of(is_known: Tensor = BOTH, *, kind: str = "bce", unlabelled: str = "ignored") -> float:
    return dense_loss(LOGITS, TARGET, is_known, kind=kind, unlabelled=unlabelled).item()


def test_binary_cross_entropy_is_the_mean_over_labelled_pixels_and_names() -> None:
    assert loss_of() == pytest.approx(sum(LABELLED) / 6, rel=1e-5)


def test_unlabelled_pixels_can_count_as_negatives_of_every_name() -> None:
    total = sum(LABELLED) + negative(3.0) + negative(4.0)
    assert loss_of(unlabelled="negative") == pytest.approx(total / 8, rel=1e-5)


def test_cross_entropy_is_the_mean_over_pixels_of_a_name() -> None:
    first = math.log(math.exp(2) + math.exp(1)) - 2
    second = math.log(math.exp(-1) + math.exp(0)) - 0
    assert loss_of(kind="ce") == pytest.approx((first + second) / 2, rel=1e-5)


def test_names_that_nobody_looked_for_take_no_part() -> None:
    known = torch.tensor([[True, False]])
    target = TARGET.clone()
    target[0, 0, 1] = NONE_OF_THEM  # a source that does not annotate the second name has none of it
    found = dense_loss(LOGITS, target, known, kind="bce", unlabelled="ignored").item()
    total = positive(2.0) + negative(-1.0) + negative(0.5)
    assert found == pytest.approx(total / 3, rel=1e-5)


def test_a_picture_without_a_label_has_no_loss_and_a_finite_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    target = torch.full_like(TARGET, UNKNOWN)
    for kind in ("bce", "ce"):
        loss = dense_loss(logits, target, BOTH, kind=kind, unlabelled="ignored").sum()
        loss.backward()
        assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("kind", ["bce", "ce"])
def test_under_autocast_the_loss_and_its_gradient_are_those_of_single_precision(
    kind: str,
) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 5, (2, 8, 8), generator=generator)
    # Sure of the right name, as late in a training: what is left of the loss is a small difference.
    truth = torch.nn.functional.one_hot(target, 5).permute(0, 3, 1, 2)
    logits = 40.0 * truth - 20.0 + torch.randn(2, 5, 8, 8, generator=generator)
    known = torch.ones(2, 5, dtype=torch.bool)
    found = []
    for enabled in (False, True):
        own = logits.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = dense_loss(own, target, known, kind=kind, unlabelled="negative")
        loss.sum().backward()
        assert (loss >= 0).all()
        found.append((loss.detach(), own.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-9)
    exact = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.double(), truth.double(), reduction="none"
    ).mean(dim=(1, 2, 3))
    if kind == "bce":
        torch.testing.assert_close(found[1][0].double(), exact, rtol=1e-3, atol=1e-6)
