"""The image side of the built-in model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from escnet.mini.vision import JointHead, PairedVision

B, D, PATCH = 2, 6, 8
TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": PATCH,
}
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

Stir = Callable[[nn.Module], None]


@pytest.fixture
def image() -> Tensor:
    return torch.rand(B, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def to_map(token: Tensor, h: int, w: int) -> Tensor:
    return token.transpose(1, 2).reshape(token.shape[0], -1, h, w)


@pytest.fixture
def paired(stir: Stir) -> PairedVision:
    torch.manual_seed(0)
    tower = PairedVision(TOWER, layers=(2, 3), joint_dim=D, head_dim=8, patch_size=16)
    stir(tower.head)
    return tower.eval()


@torch.no_grad()
def test_both_nets_of_the_pair_see_the_whole_picture(paired: PairedVision) -> None:
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    maps = paired.read(image)
    assert maps.vit.shape == (1, 32, 4, 6)
    # The net sees pixels as (value - 127) / 128 of the 0-255 range.
    own = paired.net((255 * image - 127) / 128)
    torch.testing.assert_close(maps.sixteenth, own.sixteenth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(maps.quarter, own.quarter, atol=1e-4, rtol=1e-4)
    # The ViT sees the picture shrunk to its own patches.
    shrunk = F.interpolate(image, size=(4 * PATCH, 6 * PATCH), mode="bilinear")
    pixels = (shrunk - IMAGENET_MEAN) / IMAGENET_DEVIATION
    hidden = paired.vit(pixels, output_hidden_states=True).hidden_states
    last = to_map(paired.vit.layernorm(hidden[3])[:, 1:], 4, 6)
    torch.testing.assert_close(maps.vit[:, 16:], last, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_projecting_what_was_read_is_the_whole_tower(paired: PairedVision) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = paired(image)
    maps = paired.read(image)
    torch.testing.assert_close(found.joint, paired.project(maps).joint)
    assert found.joint.shape == (1, D, 4, 4)
    assert found.skips[0].equal(maps.eighth)
    assert found.skips[1].equal(maps.quarter)


@torch.no_grad()
def test_what_the_joint_embeddings_are_made_of_is_given_where_it_is_asked_for(
    paired: PairedVision,
) -> None:
    maps = paired.read(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    assert paired.project(maps).inner is None
    paired.gives_inner, paired.sam_channels = True, paired.head.in_channels
    patches = paired.project(maps)
    assert patches.inner is not None
    assert patches.inner.shape == (2, paired.sam_channels, *patches.joint.shape[2:])
    vit, sixteenth, deep, head = paired.head.norms
    width = maps.vit.shape[1]
    torch.testing.assert_close(patches.inner[:, :width], vit(maps.vit))
    torch.testing.assert_close(patches.inner[:, width : width + 120], sixteenth(maps.sixteenth))
    for coarse, found in (
        (deep(maps.deep), patches.inner[:, width + 120 : -1280]),
        (head(maps.head), patches.inner[:, -1280:]),
    ):
        size = (found.shape[2], found.shape[3])
        wanted = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        torch.testing.assert_close(found, wanted)
    own = patches.of_picture(1).inner
    assert own is not None
    assert torch.equal(own[0], patches.inner[1])


@torch.no_grad()
def test_the_labels_of_a_place_share_one_probability(paired: PairedVision) -> None:
    maps = paired.read(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    power = paired.net.label_logits(maps.head).exp()
    label = power / power.sum(dim=1, keepdim=True)
    expected = paired.head(
        paired.head.normed(maps.vit, maps.sixteenth, maps.deep, maps.head), label
    )
    torch.testing.assert_close(paired.project(maps).joint, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_patch_that_is_surely_a_label_is_pulled_to_its_name(stir: Stir) -> None:
    head = JointHead(4, D, 8).eval()
    stir(head)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, channels, 2, 2, generator=generator) for channels in (4, 120, 352, 1280)]
    label = torch.zeros(1, 1000, 2, 2)
    label[0, 7] = 1.0
    head.get_parameter("inputs.4.weight").zero_()  # the names' other way in
    before = head(head.normed(*maps), label)
    head.label_gain.add_(5.0)
    pull = head(head.normed(*maps), label) - before
    expected = 5.0 * head.label_embedding[7][None, :, None, None].expand_as(pull)
    torch.testing.assert_close(pull, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_joint_head_written_out_for_maps_of_one_size(stir: Stir) -> None:
    head = JointHead(4, D, 8).eval()
    stir(head)
    for norm in head.norms:
        assert isinstance(norm, nn.BatchNorm2d)
        norm.get_buffer("running_mean").normal_(0, 0.5)
        norm.get_buffer("running_var").uniform_(0.5, 2.0)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, channels, 3, 3, generator=generator) for channels in (4, 120, 352, 1280)]
    label = torch.rand(2, 1000, 3, 3, generator=generator).softmax(dim=1)
    state = head.state_dict()

    def conv(x: Tensor, name: str, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    named = (label.movedim(1, 3) @ state["label_embedding"]).movedim(3, 1)
    total = conv(named, "inputs.4")
    for index, x in enumerate(maps):
        mean, variance = state[f"norms.{index}.running_mean"], state[f"norms.{index}.running_var"]
        normed = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        total = total + conv(normed, f"inputs.{index}")
    hidden = F.gelu(total)
    expected = conv(F.gelu(conv(hidden, "mix", padding=1)), "nonlinear") + conv(hidden, "linear")
    expected = expected + state["label_gain"] * named
    torch.testing.assert_close(head(head.normed(*maps), label), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_coarser_maps_are_brought_to_the_grid_of_the_vit(paired: PairedVision) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 64, 64, generator=generator)
    maps = paired.read(image)
    assert maps.deep.shape[2:] == (2, 2)
    enlarged = maps._replace(
        deep=F.interpolate(maps.deep, size=(4, 4), mode="bilinear"),
        head=maps.head,
    )
    # A 1 x 1 convolution and a bilinear enlargement may change places.
    torch.testing.assert_close(
        paired.project(enlarged).joint, paired.project(maps).joint, atol=1e-4, rtol=1e-4
    )
