"""MetaCLIP 2's towers against transformers' own; CLIP's read-outs are held in tests/parity."""

from typing import Any

import pytest
import torch
from transformers import MetaClip2Config, MetaClip2Model

from escnet.towers.metaclip2 import METACLIP_2
from escnet.towers.tower import Towers

WIDTHS = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
VISION = {**WIDTHS, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
TEXT = {**WIDTHS, "num_hidden_layers": 2, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 2}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


@pytest.fixture
def theirs() -> Any:
    torch.manual_seed(0)
    config = MetaClip2Config(
        vision_config=VISION,
        text_config={**TEXT, "max_position_embeddings": 12},
        projection_dim=6,
    )
    return MetaClip2Model(config).eval()


def of(theirs: Any) -> Towers:
    settings = METACLIP_2.settings_of(theirs.config.to_dict())
    towers = METACLIP_2.build(settings.vision_config, settings.text_config, taps=(0, 1))
    state = theirs.state_dict()
    for part in METACLIP_2.parts(towers):
        part.module.load_state_dict(
            {name: value for name, value in state.items() if part.name_of(name) is not None}
        )
    return Towers(towers.vision.eval(), towers.text.eval())


@torch.no_grad()
def test_a_text_ends_at_its_first_end_token_whatever_pads_it(theirs: Any) -> None:
    token = torch.tensor([[0, 7, 9, 2, 1, 1], [0, 8, 2, 1, 1, 1], [0, 5, 6, 3, 4, 2]])
    text = of(theirs).text
    found = text(token, token.ne(1).long())
    expected = theirs.get_text_features(input_ids=token)
    torch.testing.assert_close(found, getattr(expected, "pooler_output", expected))
    torch.testing.assert_close(found[1], text(token[1:2, :3], torch.ones(1, 3).long())[0])


@torch.no_grad()
def test_a_patch_takes_its_own_value_and_the_class_token(theirs: Any) -> None:
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    inner = theirs.vision_model
    hidden = inner((image - MEAN) / DEVIATION, output_hidden_states=True).hidden_states
    block = inner.encoder.layers[-1]
    value = block.self_attn.out_proj(block.self_attn.v_proj(block.layer_norm1(hidden[-2])))
    x = hidden[-2][:, :1] + value
    x = x + block.mlp(block.layer_norm2(x))
    expected = theirs.visual_projection(inner.post_layernorm(x))[:, 1:].mT.unflatten(2, (4, 4))
    found = of(theirs).vision(image)
    torch.testing.assert_close(found.joint, expected)
    torch.testing.assert_close(found.skips[0], hidden[1][:, 1:].mT.unflatten(2, (4, 4)))
