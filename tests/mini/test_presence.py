from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.mini.presence import Presence, presence_gain
from escnet.weights.checkpoint import load_checkpoint
from tests.mini.conftest import MINI

N, D, S = 3, 16, 10


@pytest.fixture
def texts() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def presence() -> Presence:
    presence = Presence(summary_dim=S, joint_dim=D).eval()
    presence.begin_fit()
    return presence


@torch.no_grad()
def test_by_hand(presence: Presence, texts: Tensor) -> None:
    presence.norm.running_mean.fill_(2.0)
    presence.norm.running_var.fill_(9.0)
    summary = torch.randn(2, S)
    joint = (summary - 2) / (9 + presence.norm.eps) ** 0.5 @ presence.to_joint.weight.T
    joint = joint + presence.to_joint.bias
    unit = texts / texts.norm(dim=1, keepdim=True)
    shift = unit @ presence.shift.weight[0] + presence.shift.bias
    expected = 8 * F.cosine_similarity(joint[:, None], texts[None], dim=2) + shift
    torch.testing.assert_close(presence(summary, texts[None]), expected)
    torch.testing.assert_close(presence(summary, (5 * texts)[None]), expected)


@torch.no_grad()
def test_a_name_has_the_same_presence_whatever_stands_beside_it(
    presence: Presence, texts: Tensor
) -> None:
    summary = torch.randn(2, S)
    alone = presence(summary, texts[None, 1:2])
    torch.testing.assert_close(alone, presence(summary, texts[None])[:, 1:2])


@torch.no_grad()
def test_until_it_is_fitted_every_name_is_present(texts: Tensor) -> None:
    unfitted = Presence(summary_dim=S, joint_dim=D).eval()
    assert presence_gain(unfitted(torch.randn(2, S), texts[None])).abs().max() < 1e-4


def test_a_name_surely_there_loses_nothing_and_none_is_ruled_out() -> None:
    gain = presence_gain(torch.tensor([[20.0, 0.0, -3.0, -50.0]]))[0].tolist()
    assert gain == pytest.approx([0.0, -0.6931, -3.0486, -8.0], abs=1e-4)


@torch.no_grad()
def test_the_network_takes_it_off_every_place_of_a_name(texts: Tensor) -> None:
    torch.manual_seed(0)
    network = Mini(MiniConfig(**{**MINI, "presence": True})).eval()
    network.presence.begin_fit()
    plain = Mini(MiniConfig(**MINI)).eval()
    shared = {n: v for n, v in network.state_dict().items() if not n.startswith("presence.")}
    plain.load_state_dict(shared)
    patches = network.vision(torch.rand(2, 3, 64, 64))
    gain = presence_gain(network.presence(patches.summary, texts[None]))
    expected = plain.segment(patches, texts).logits + gain[:, :, None, None]
    torch.testing.assert_close(network.segment(patches, texts).logits, expected)
    torch.testing.assert_close(network.segment(patches, texts, 1).logits, expected)
    assert gain.min() < -0.5
    second = network.segment(patches.of_picture(1), texts).logits
    torch.testing.assert_close(second, expected[1:])


@torch.no_grad()
def test_a_summary_is_of_the_whole_picture() -> None:
    torch.manual_seed(0)
    vision = Mini(MiniConfig(**MINI)).vision.eval()
    maps = vision.read(torch.rand(1, 3, 64, 64))
    summary = vision.project(maps).summary
    assert summary.shape == (1, vision.summary_channels)
    assert vision.summary_channels == 2 * 16 + 16 + 2 * 1280 + 2 * 1000
    label = vision.net.label_logits(maps.head).softmax(dim=1)
    expected = [
        maps.vit.mean(dim=(2, 3)),
        maps.head.mean(dim=(2, 3)),
        maps.vit[:, 16:].amax(dim=(2, 3)),
        maps.head.amax(dim=(2, 3)),
        label.mean(dim=(2, 3)).log(),
        label.amax(dim=(2, 3)).log(),
    ]
    torch.testing.assert_close(summary, torch.cat(expected, dim=1))


@torch.no_grad()
def test_a_loaded_network_knows_what_the_saved_one_did(tmp_path: Path, texts: Tensor) -> None:
    torch.manual_seed(0)
    network = Mini(MiniConfig(**{**MINI, "presence": True})).eval()
    network.presence.begin_fit()
    network.presence.norm.running_mean.normal_()
    network.save_pretrained(tmp_path)
    image = torch.rand(1, 3, 64, 64)
    expected = network(image, texts)
    torch.testing.assert_close(load_checkpoint(tmp_path).eval()(image, texts), expected)
