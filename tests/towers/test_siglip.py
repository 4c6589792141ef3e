"""SigLIP's towers; the read-out of CLIP is held in tests/parity."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    SiglipTextConfig,
    SiglipTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from escnet.errors import ConfigError
from escnet.towers.clip import ClipVision
from escnet.towers.siglip import SiglipText, SiglipVision
from escnet.towers.text_reading import canonical

B, D, PATCH = 2, 6, 8
TEXT_TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 12,
}
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


@pytest.mark.parametrize("taps", [(0, 3), (-1, 0)])
@pytest.mark.parametrize("tower", [ClipVision, SiglipVision])
def test_taps_that_the_tower_does_not_have_are_refused(tower: Any, taps: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"are not two of a tower of 3 blocks: give two .* 0 to 2"
    ):
        tower(TOWER, taps=taps)


@torch.no_grad()
def test_siglip_sees_its_padding_as_transformers_does() -> None:
    token = torch.tensor([[1, 7, 9, 2, 0, 0], [1, 8, 2, 0, 0, 0], [1, 5, 6, 3, 4, 2]])
    config = {**TEXT_TOWER, "projection_size": D}
    torch.manual_seed(0)
    ours = SiglipText(config).eval()
    theirs = SiglipTextModel(SiglipTextConfig(**config)).eval()
    theirs.load_state_dict(ours.tower.state_dict())
    found = ours(token, token.ne(0).long())
    assert found.shape == (3, D)
    torch.testing.assert_close(found, theirs(input_ids=token).pooler_output)
    assert not torch.allclose(found[:2], ours(token[:2, :4], token[:2, :4]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A photo of a Cat.", "a photo of a cat"),
        ("T-shirt,  (red)!", "tshirt red"),
        ("ÄPFEL", "äpfel"),
    ],
)
def test_texts_are_lower_cased_without_punctuation(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(expected) == expected
