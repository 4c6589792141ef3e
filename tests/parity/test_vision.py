"""Our read-outs of CLIP against transformers' CLIP, and against the formula written out."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from escnet.towers.clip import ClipText, ClipVision

B, h, w, PATCH, WIDTH, D = 2, 4, 4, 8, 32, 16
HEADS, LAYERS = 2, 3
LARGEST_DIFFERENCE = 1e-5  # of the largest value

VISION_CONFIG: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "image_size": h * PATCH,
    "patch_size": PATCH,
    "projection_dim": D,
}
TEXT_CONFIG: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "projection_dim": D,
    "vocab_size": 100,
    "max_position_embeddings": 20,
    "bos_token_id": 98,
    "eos_token_id": 99,
}

# CLIP's mean and deviation of pixels on the scale 0-255.
MEAN = torch.tensor([122.7709383, 116.7460125, 104.09373615])
DEVIATION = torch.tensor([68.5005327, 66.6321579, 70.3231630])


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference <= LARGEST_DIFFERENCE


def stir(module: torch.nn.Module) -> None:
    """Make every parameter matter: a fresh norm of 1 and a fresh bias of 0 hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def vision() -> ClipVision:
    tower = ClipVision(VISION_CONFIG, taps=(0, 1))
    stir(tower)
    return tower.eval()


@pytest.fixture
def image() -> Tensor:
    shape = (B, 3, h * PATCH, w * PATCH)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def normalised(image: Tensor) -> Tensor:
    return (255 * image - MEAN[:, None, None]) / DEVIATION[:, None, None]


def to_map(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (h, w))


@torch.no_grad()
def test_the_skips_are_the_blocks_of_transformers_clip(vision: ClipVision, image: Tensor) -> None:
    theirs = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION_CONFIG)).eval()
    theirs.load_state_dict(vision.tower.state_dict())
    hidden = theirs(normalised(image), output_hidden_states=True).hidden_states
    skips = vision(image).skips
    assert_equal(skips[0], to_map(hidden[1]))
    assert_equal(skips[1], to_map(hidden[2]))


@torch.no_grad()
def test_the_dense_read_out_is_the_formula_written_out(vision: ClipVision, image: Tensor) -> None:
    reference = WrittenOut({k: v.double() for k, v in vision.tower.state_dict().items()})
    expected = reference.joint(normalised(image.double()))
    assert_equal(vision(image).joint.double(), to_map(expected))


@torch.no_grad()
def test_a_patch_is_blind_to_the_others_in_the_last_block(image: Tensor) -> None:
    # With one block there is no mixing before it, so a patch's embedding is its own alone.
    config = {**VISION_CONFIG, "num_hidden_layers": 1}
    tower = ClipVision(config, taps=(0, 0)).eval()
    stir(tower)
    changed = image.clone()
    changed[:, :, :PATCH, :PATCH] = 0.0
    before, after = tower(image).joint, tower(changed).joint
    assert not torch.allclose(before[:, :, 0, 0], after[:, :, 0, 0])
    torch.testing.assert_close(before[:, :, 1:], after[:, :, 1:])


@torch.no_grad()
def test_any_picture_of_whole_patches_gives_its_own_grid(vision: ClipVision) -> None:
    patches = vision(torch.rand(1, 3, 2 * h * PATCH, 3 * PATCH))
    assert patches.joint.shape == (1, D, 2 * h, 3)
    assert patches.skips[0].shape == (1, WIDTH, 2 * h, 3)


@torch.no_grad()
def test_text_embeddings_are_those_of_transformers_clip() -> None:
    ours = ClipText(TEXT_CONFIG).eval()
    stir(ours)
    theirs = CLIPTextModelWithProjection(CLIPTextConfig(**TEXT_CONFIG)).eval()
    theirs.load_state_dict(ours.tower.state_dict())
    token = torch.tensor([[98, 5, 7, 99], [98, 4, 99, 99]])
    is_token = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    found = ours(token, is_token)
    assert_equal(found, theirs(input_ids=token, attention_mask=is_token).text_embeds)
    alone = theirs(input_ids=torch.tensor([[98, 4, 99]])).text_embeds
    assert_equal(found[1:], alone)  # padding changes nothing


class WrittenOut:
    """CLIP's image tower with the dense read-out, from the state dict, with plain products."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def get(self, ending: str) -> Tensor:
        found = [name for name in self.state if name.endswith(ending)]
        assert len(found) == 1, (ending, found)
        return self.state[found[0]]

    def joint(self, pixels: Tensor) -> Tensor:
        kernel = self.get("patch_embedding.weight").flatten(1)  # (V, 3 * PATCH * PATCH)
        tokens = []
        for row in range(h):
            for column in range(w):
                patch = pixels[
                    :,
                    :,
                    row * PATCH : (row + 1) * PATCH,
                    column * PATCH : (column + 1) * PATCH,
                ]
                tokens.append(patch.flatten(1) @ kernel.T)
        class_token = self.get("class_embedding").expand(pixels.shape[0], -1)
        x = torch.stack([class_token, *tokens], dim=1) + self.get("position_embedding.weight")
        x = self.norm(x, "pre_layrnorm")
        for index in range(LAYERS - 1):
            layer = f"layers.{index}"
            x = x + self.attention(self.norm(x, f"{layer}.layer_norm1"), layer)
            x = x + self.perceptron(self.norm(x, f"{layer}.layer_norm2"), layer)
        last = f"layers.{LAYERS - 1}"
        value = self.linear(self.norm(x, f"{last}.layer_norm1"), f"{last}.self_attn.v_proj")
        x = x[:, :1] + self.linear(value, f"{last}.self_attn.out_proj")
        x = x + self.perceptron(self.norm(x, f"{last}.layer_norm2"), last)
        return self.norm(x, "post_layernorm") @ self.get("visual_projection.weight").T

    def attention(self, x: Tensor, layer: str) -> Tensor:
        query, key, value = (self.linear(x, f"{layer}.self_attn.{name}_proj") for name in "qkv")
        size = WIDTH // HEADS
        heads = []
        for head in range(HEADS):
            own = slice(head * size, (head + 1) * size)
            score = query[..., own] @ key[..., own].mT / math.sqrt(size)
            weight = score.exp() / score.exp().sum(dim=-1, keepdim=True)
            heads.append(weight @ value[..., own])
        return self.linear(torch.cat(heads, dim=-1), f"{layer}.self_attn.out_proj")

    def perceptron(self, x: Tensor, layer: str) -> Tensor:
        inner = self.linear(x, f"{layer}.mlp.fc1")
        return self.linear(inner * torch.sigmoid(1.702 * inner), f"{layer}.mlp.fc2")

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.get(f"{name}.weight").T + self.get(f"{name}.bias")

    def norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        deviation = (centred.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * self.get(f"{name}.weight") + self.get(f"{name}.bias")
