import torch
import torch.nn.functional as F

from escnet.mini.training.mask_loss import present_names_loss
from escnet.training.targets import NONE_OF_THEM, UNKNOWN


def test_the_loss_of_shown_names_by_hand() -> None:
    logits = torch.tensor([[[3.0, 0.0]], [[-2.0, -1.0]], [[0.0, 2.0]]], requires_grad=True)
    target = torch.tensor([[NONE_OF_THEM, UNKNOWN, 2, 0]])  # 1 is not there
    # Of two patches the peak is the higher one.
    binary = (F.softplus(torch.tensor(-3.0)) + F.softplus(torch.tensor(-2.0))) / 2
    binary = binary + F.softplus(torch.tensor(-1.0))
    shares = logits.softmax(dim=0)[[0, 2]].amax(dim=(1, 2))
    wanted = binary - shares.log().mean()
    found = present_names_loss(logits, target)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    found.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0] < 0 < logits.grad[1, 0, 1]


def test_a_picture_that_shows_no_name_has_no_loss_of_shown_names() -> None:
    logits = torch.ones(2, 3, 3, requires_grad=True)
    loss = present_names_loss(logits, torch.full((4, 4), NONE_OF_THEM))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
