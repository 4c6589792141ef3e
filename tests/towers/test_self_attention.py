import math

import pytest
import torch
from torch import Tensor, nn

from escnet.towers.clip import ClipVision
from escnet.towers.self_attention import last_block, neighbourhood
from escnet.towers.siglip import SiglipVision

_SIZES = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


@pytest.fixture
def clip() -> ClipVision:
    torch.manual_seed(0)
    return ClipVision({**_SIZES, "projection_dim": 6}, taps=(0, 0)).eval()


def _by_loops(block: nn.Module, x: Tensor, attention: str) -> Tensor:
    """One picture on a 2 x 3 grid after a class token, token by token and head by head."""
    own, heads = block.self_attn, 2
    y = block.layer_norm1(x)
    q, k, v = own.q_proj(y), own.k_proj(y), own.v_proj(y)
    E = x.shape[1] // heads
    mixed = torch.zeros_like(x)
    for g in range(heads):
        part = slice(g * E, (g + 1) * E)
        for i in range(len(x)):
            if attention in {"clip", "maskclip"}:
                mixed[i, part] = v[i, part]
                continue
            kk = torch.tensor(
                [float(k[i, part] @ k[j, part]) / math.sqrt(E) for j in range(len(x))]
            )
            qq = torch.tensor(
                [float(q[i, part] @ q[j, part]) / math.sqrt(E) for j in range(len(x))]
            )
            if attention == "naclip":
                for j in range(1, len(x)):
                    if i:
                        row = (i - 1) // 3 - (j - 1) // 3
                        column = (i - 1) % 3 - (j - 1) % 3
                        kk[j] += math.exp(-(row**2 + column**2) / 50)
                weight = kk.softmax(0)
            else:
                weight = qq.softmax(0) + kk.softmax(0)
            mixed[i, part] = sum(weight[j] * v[j, part] for j in range(len(x)))
    mixed = own.out_proj(mixed)
    if attention == "naclip":
        return mixed
    x = mixed + (x[0] if attention == "clip" else x)
    return x + block.mlp(block.layer_norm2(x))


@pytest.mark.parametrize("attention", ["clip", "maskclip", "sclip", "naclip"])
@torch.no_grad()
def test_the_last_block_agrees_with_plain_loops(clip: ClipVision, attention: str) -> None:
    block = clip.tower.vision_model.encoder.layers[-1]
    x = torch.randn(1, 7, 8) * 3
    found = last_block(block, x, attention, (2, 3), 1)
    torch.testing.assert_close(found[0], _by_loops(block, x[0], attention), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_choice_clip_is_the_read_out_of_the_tower(clip: ClipVision) -> None:
    image = torch.rand(2, 3, 32, 48)
    torch.testing.assert_close(clip.dense_embedding(image, "clip"), clip(image).joint)


@pytest.mark.parametrize("attention", ["clip", "maskclip", "sclip", "naclip"])
@torch.no_grad()
def test_siglip_gives_a_map_without_a_class_token(attention: str) -> None:
    tower = SiglipVision(_SIZES, taps=(0, 0)).eval()
    assert tower.dense_embedding(torch.rand(1, 3, 32, 48), attention).shape == (1, 8, 2, 3)


def test_the_neighbourhood_of_a_patch_is_nearest_to_itself() -> None:
    prior = neighbourhood((1, 2), 1)
    near = math.exp(-1 / 50)
    torch.testing.assert_close(
        prior, torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, near], [0.0, near, 1.0]])
    )
