from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.mini.config import MiniConfig
from escnet.mini.detail import DetailBranch, DetailLogits
from escnet.mini.efficientnet_lite import EfficientNetLite
from escnet.mini.network import Mini
from escnet.towers.resize import resized
from escnet.weights.checkpoint import load_checkpoint
from tests.mini.conftest import MINI
from tests.model.conftest import Stir

N, D, V, K = 3, 16, 32, 32


@pytest.fixture
def texts() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network(stir: Stir) -> Mini:
    torch.manual_seed(0)
    network = Mini(MiniConfig(**{**MINI, "detail": True, "upsampling": "guided"})).eval()
    stir(network.vision.detail)
    stir(network.detail)
    return network


@torch.no_grad()
def test_logits_by_hand(stir: Stir, texts: Tensor) -> None:
    logits = DetailLogits(joint_dim=D)
    stir(logits)
    pixel = torch.randn(2, K, 4, 6)
    found = logits(pixel, texts[None])
    assert found.shape == (2, N, 4, 6)
    unit = texts[1] / texts[1].norm()
    query = logits.query.weight @ unit + logits.query.bias
    expected = pixel[1, :, 2, 5] @ query / K**0.5 + logits.shift.weight[0] @ unit
    torch.testing.assert_close(found[1, 1, 2, 5], expected + logits.shift.bias[0])
    torch.testing.assert_close(logits(pixel, 7 * texts[None]), found)


@torch.no_grad()
def test_centred_it_adds_nothing_on_average_and_nobody_else_wins(stir: Stir, texts: Tensor) -> None:
    logits = DetailLogits(joint_dim=D)
    stir(logits)
    pixel, others = torch.randn(2, K, 4, 6), torch.randn(5, D)
    before = logits(pixel, torch.cat([texts, others])[None])
    logits.centre(3 * texts)
    after = logits(pixel, torch.cat([texts, others])[None])
    torch.testing.assert_close(after[:, :N].mean(dim=1), torch.zeros(2, 4, 6), atol=1e-5, rtol=0)
    lost = before - after
    torch.testing.assert_close(lost, lost[:, :1].expand_as(lost))
    assert lost.abs().max() > 0.1


@torch.no_grad()
def test_weakened_each_text_keeps_its_share_and_one_between_something_between(
    stir: Stir, texts: Tensor
) -> None:
    torch.manual_seed(1)  # how alike the two are is a matter of the directions drawn
    logits = DetailLogits(joint_dim=D)
    stir(logits)
    pixel = torch.randn(2, K, 4, 6)
    before = logits(pixel, texts[None])
    share = torch.tensor([1.0, 0.5, 0.0])
    logits.weaken(3 * texts, share)
    after = logits(pixel, texts[None])
    assert before.std(dim=(0, 2, 3)).min() > 0.1
    torch.testing.assert_close(after, before * share[:, None, None], atol=0.02, rtol=0.02)
    unit = F.normalize(texts, dim=1)
    between = logits(pixel, unit[None, 1:2] + unit[None, 2:])[:, 0]
    assert F.cosine_similarity(between.flatten(), after[:, 1].flatten(), dim=0) > 0.9
    assert 0.1 < between.norm() / after[:, 1].norm() < 0.95


@torch.no_grad()
def test_a_name_gains_the_same_whatever_stands_beside_it(stir: Stir, texts: Tensor) -> None:
    logits = DetailLogits(joint_dim=D)
    stir(logits)
    pixel, before = torch.randn(1, K, 4, 4), torch.randn(1, N, 4, 4)
    expected = before + logits(pixel, texts[None])
    torch.testing.assert_close(logits.add_to(before, pixel, texts[None]), expected)
    torch.testing.assert_close(logits.add_to(before, pixel, texts[None], 2), expected)
    alone = logits.add_to(before[:, 1:2], pixel, texts[None, 1:2])
    torch.testing.assert_close(alone, expected[:, 1:2])


@torch.no_grad()
def test_the_network_adds_it_to_its_logits(network: Mini, texts: Tensor) -> None:
    patches = network.vision(torch.rand(2, 3, 64, 64))
    assert patches.detail is not None
    assert patches.detail.shape == (2, K, 32, 32)
    plain = network.segment(replace(patches, detail=None), texts).logits
    assert plain.shape == (2, N, 32, 32)
    assert network.detail is not None
    gain = network.detail(patches.detail, texts[None])
    assert gain.std(dim=(2, 3)).min() > 1e-3  # it differs from place to place
    torch.testing.assert_close(network.segment(patches, texts).logits, plain + gain)
    torch.testing.assert_close(network.segment(patches, texts, 1).logits, plain + gain)
    second = network.segment(patches.of_picture(1), texts).logits
    torch.testing.assert_close(second, (plain + gain)[1:])


@torch.no_grad()
def test_beside_a_coarser_grid_it_is_brought_to_that(network: Mini, texts: Tensor) -> None:
    coarse = Mini(MiniConfig(**{**MINI, "detail": True})).eval()
    own = coarse.state_dict()
    coarse.load_state_dict({n: v for n, v in network.state_dict().items() if n in own})
    patches = coarse.vision(torch.rand(1, 3, 64, 64))
    plain = coarse.segment(replace(patches, detail=None), texts).logits
    assert plain.shape == (1, N, 16, 16)
    expected = plain + resized(coarse.detail(patches.detail, texts[None]), (16, 16))
    torch.testing.assert_close(coarse.segment(patches, texts).logits, expected)


@torch.no_grad()
def test_feature_maps_without_a_picture_have_no_detail(network: Mini, texts: Tensor) -> None:
    image = torch.rand(1, 3, 64, 64)
    patches = network.vision.project(network.vision.read(image))
    assert patches.detail is None
    expected = network.segment(replace(network.vision(image), detail=None), texts).logits
    torch.testing.assert_close(network.segment(patches, texts).logits, expected)


@torch.no_grad()
def test_it_sees_what_the_patches_cannot(network: Mini) -> None:
    """A line of one pixel's width moves the pixel embeddings most where it is."""
    image = torch.full((1, 3, 64, 64), 0.5)
    lined = image.clone()
    lined[:, :, :, 40] = 1.0
    maps = network.vision.read(image)
    joint = network.vision.project(maps).joint
    before, after = (network.vision.look_closely(one, maps.vit, joint) for one in (image, lined))
    change = (after - before).abs().mean(dim=(0, 1, 2))  # of each column
    assert abs(int(change.argmax()) - 20) <= 2


@torch.no_grad()
def test_every_input_of_the_branch_matters(stir: Stir) -> None:
    torch.manual_seed(0)
    branch = DetailBranch(vit_channels=V, joint_dim=D).eval()
    stir(branch)
    image, vit, joint = torch.randn(1, 3, 64, 64), torch.randn(1, V, 4, 4), torch.randn(1, D, 4, 4)
    expected = branch(image, vit, joint)
    assert not torch.allclose(branch(image + 0.1, vit, joint), expected)
    assert not torch.allclose(branch(image, vit + 0.1, joint), expected)
    assert not torch.allclose(branch(image, vit, joint.roll(1, 2)), expected)
    torch.testing.assert_close(branch(image, vit, 3 * joint), expected)


@torch.no_grad()
def test_it_begins_with_the_towers_net_and_adds_nothing() -> None:
    torch.manual_seed(0)
    net, branch = EfficientNetLite().eval(), DetailBranch(vit_channels=V, joint_dim=D).eval()
    assert not branch.is_begun
    branch.begin_fit(net)
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(branch.net.stages(image)[-1], net(image).sixteenth)
    pixel = branch(image, torch.randn(1, V, 4, 4), torch.randn(1, D, 4, 4))
    assert not pixel.any()
    assert not DetailLogits(joint_dim=D)(pixel, torch.randn(1, N, D)).any()
    branch.pixel.weight[0] = 1
    assert branch.is_begun


def test_a_gradient_reaches_all_of_it_once_it_is_begun(network: Mini, texts: Tensor) -> None:
    logits = network(torch.rand(1, 3, 64, 64), texts)
    F.softplus(logits).mean().backward()
    parts = {
        **dict(network.vision.detail.named_parameters()),
        **dict(network.detail.named_parameters()),
    }
    assert [name for name, one in parts.items() if one.grad is None or not one.grad.any()] == []


@torch.no_grad()
def test_a_loaded_network_sees_what_the_saved_one_did(
    network: Mini, tmp_path: Path, texts: Tensor
) -> None:
    network.save_pretrained(tmp_path)
    image = torch.rand(1, 3, 64, 64)
    expected = network(image, texts)
    torch.testing.assert_close(load_checkpoint(tmp_path)(image, texts), expected)


@torch.no_grad()
def test_half_precision_runs(network: Mini, texts: Tensor) -> None:
    image = torch.rand(1, 3, 64, 64)
    expected = network(image, texts)
    found = network.to(torch.bfloat16)(image.bfloat16(), texts.bfloat16())
    assert (found.float() - expected).abs().max() < 0.2 * expected.abs().max()
