"""The towers beside CLIP; the read-out of CLIP itself is held in tests/parity."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, SiglipVisionConfig, SiglipVisionModel

from escnet.errors import ConfigError
from escnet.model.vision import ClipVision, Dinov2Vision, JointHead, PairedVision, SiglipVision

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


@torch.no_grad()
def test_siglip_pools_every_patch_alone(stir: Stir, image: Tensor) -> None:
    torch.manual_seed(0)
    tower = SiglipVision(TOWER, taps=(0, 1)).eval()
    stir(tower)
    theirs = SiglipVisionModel(SiglipVisionConfig(**TOWER)).eval()
    theirs.load_state_dict(tower.tower.state_dict())
    output = theirs(pixel_values=2 * image - 1, output_hidden_states=True)
    head = getattr(theirs, "vision_model", theirs).head
    patches = output.last_hidden_state.flatten(0, 1)[:, None]  # each a picture of one patch
    expected = to_map(head(patches).unflatten(0, (B, 16)), 4, 4)
    found = tower(image)
    torch.testing.assert_close(found.joint, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.skips[0], to_map(output.hidden_states[1], 4, 4))
    torch.testing.assert_close(found.skips[1], to_map(output.hidden_states[2], 4, 4))


@torch.no_grad()
def test_dinov2_is_one_linear_map_of_the_normed_layers(stir: Stir, image: Tensor) -> None:
    torch.manual_seed(0)
    tower = Dinov2Vision(TOWER, layers=(1, 3), joint_dim=D, taps=(0, 1)).eval()
    stir(tower)
    theirs = Dinov2Model(Dinov2Config(**TOWER)).eval()
    theirs.load_state_dict(tower.tower.state_dict())
    pixels = (image - IMAGENET_MEAN) / IMAGENET_DEVIATION
    hidden = theirs(pixels, output_hidden_states=True).hidden_states
    normed = [theirs.layernorm(x)[:, 1:] for x in hidden]
    state = tower.to_joint.state_dict()
    read = torch.cat([normed[1], normed[3]], dim=2)
    expected = read @ state["weight"][:, :, 0, 0].T + state["bias"]
    found = tower(image)
    torch.testing.assert_close(found.joint, to_map(expected, 4, 4), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.skips[0], to_map(normed[1], 4, 4))
    torch.testing.assert_close(found.skips[1], to_map(normed[2], 4, 4))


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
    paired.gives_inner = True
    patches = paired.project(maps)
    assert patches.inner is not None
    assert patches.inner.shape == (2, paired.inner_channels, *patches.joint.shape[2:])
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


@pytest.mark.parametrize("taps", [(0, 3), (-1, 0)])
@pytest.mark.parametrize("tower", [ClipVision, SiglipVision])
def test_taps_that_the_tower_does_not_have_are_refused(tower: Any, taps: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"are not two of a tower of 3 blocks: give two .* 0 to 2"
    ):
        tower(TOWER, taps=taps)
