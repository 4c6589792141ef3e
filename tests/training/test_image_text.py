"""Losses between whole pictures and texts."""

import math

import pytest
import torch
import torch.nn.functional as F

from escnet.training.image_text import binary_loss, contrastive_loss, picture_text_score


def test_scores_of_a_hand_drawn_map() -> None:
    image = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])  # one patch along each axis
    text = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    half = math.sqrt(0.5)
    mean = picture_text_score(image, text, "mean")
    assert mean.tolist()[0] == pytest.approx([0.5, half])
    most = picture_text_score(image, text, "max")
    assert most.tolist()[0] == pytest.approx([1.0, half])
    soft = picture_text_score(image, text, "soft")
    weight = math.exp(20) / (math.exp(20) + 1)
    assert soft.tolist()[0] == pytest.approx([weight, half])


def test_the_contrastive_loss_is_minus_the_logarithm_of_the_own_texts_share() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    is_match = torch.tensor([[True, False, False], [True, True, False]])
    total = math.exp(1) + math.exp(2) + 1
    assert contrastive_loss(logits, is_match).tolist() == pytest.approx(
        [-math.log(math.exp(1) / total), -math.log(2 / 3)]
    )


def test_in_the_binary_loss_own_and_other_texts_weigh_the_same() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    is_match = torch.tensor([[True, False, False]])
    own = F.softplus(torch.tensor(-2.0))
    others = (F.softplus(torch.tensor(-1.0)) + F.softplus(torch.tensor(0.5))) / 2
    assert binary_loss(logits, is_match).item() == pytest.approx(float(own + others) / 2)


@pytest.mark.parametrize("loss", [contrastive_loss, binary_loss])
def test_a_pictures_loss_depends_on_no_other_picture(loss: object) -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    is_match = torch.eye(3, 5).bool()
    alone = torch.cat([loss(logits[i : i + 1], is_match[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(logits, is_match), alone)


@pytest.mark.parametrize("pooling", ["mean", "max", "soft"])
def test_under_autocast_scores_and_gradients_are_those_of_single_precision(pooling: str) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 16, 3, 3, generator=generator)
    text = torch.randn(4, 16, generator=generator)
    found = []
    for enabled in (False, True):
        own = image.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            score = picture_text_score(own, text, pooling)
            loss = contrastive_loss(50.0 * score, torch.eye(2, 4).bool())
        loss.sum().backward()
        found.append((score.detach(), own.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-7)
