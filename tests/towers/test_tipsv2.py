"""TIPSv2's towers against transformers' own, where transformers has them."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers

from escnet.errors import ConfigError
from escnet.towers.kind import TowerKind
from escnet.towers.table import TOWER_KINDS, tower_kind
from escnet.towers.tipsv2 import TIPSV2
from escnet.towers.tower import Towers

needs_tipsv2 = pytest.mark.skipif(
    not hasattr(transformers, "Tipsv2Model"), reason="this transformers has no TIPSv2"
)

VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 12,
}


@pytest.fixture
def theirs() -> Any:
    torch.manual_seed(0)
    config = transformers.Tipsv2Config(vision_config=VISION, text_config=TEXT)
    model = transformers.Tipsv2Model(config).eval()
    with torch.no_grad():
        for value in model.parameters():  # scales of 1 and tokens of 0 would hide faults
            value.add_(0.1 * torch.randn_like(value))
    return model


def of(theirs: Any) -> Towers:
    settings = TIPSV2.settings_of(theirs.config.to_dict())
    towers = TIPSV2.build(settings.vision_config, settings.text_config, taps=(0, 1))
    towers.vision.tower.load_state_dict(theirs.vision_model.state_dict())
    towers.text.tower.load_state_dict(theirs.text_model.state_dict())
    return Towers(towers.vision.eval(), towers.text.eval())


@needs_tipsv2
@torch.no_grad()
def test_a_text_is_the_mean_of_its_tokens_whatever_pads_it(theirs: Any) -> None:
    token = torch.tensor([[7, 9, 2, 0, 0], [8, 2, 0, 0, 0], [5, 6, 3, 4, 2]])
    text = of(theirs).text
    found = text(token, token.ne(0).long())
    expected = theirs.get_text_features(input_ids=token, attention_mask=token.ne(0).long())
    torch.testing.assert_close(found, expected.pooler_output)
    torch.testing.assert_close(found[1], text(token[1:2, :2], torch.ones(1, 2).long())[0])


@needs_tipsv2
@torch.no_grad()
def test_a_patch_takes_its_own_value_and_itself_as_its_authors_read_it_out(theirs: Any) -> None:
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    inner = theirs.vision_model
    *earlier, last = inner.encoder.layer
    outputs = [inner.embeddings(image)]
    for block in earlier:
        outputs.append(block(outputs[-1]))
    x = outputs[-1]
    own = last.attention
    value = F.linear(last.norm1(x), own.v_proj.weight, own.v_proj.bias)
    x = x + last.layer_scale1.lambda1 * own.o_proj(value)
    x = x + last.layer_scale2.lambda1 * last.mlp(last.norm2(x))
    expected = inner.layernorm(x)[:, 2:].mT.unflatten(2, (4, 6))
    vision = of(theirs).vision
    found = vision(image)
    torch.testing.assert_close(found.joint, expected)
    torch.testing.assert_close(vision.dense_embedding(image, vision.attentions[0]), expected)
    for skip, output in zip(found.skips, outputs[1:], strict=True):
        torch.testing.assert_close(skip, output[:, 2:].mT.unflatten(2, (4, 6)))


@needs_tipsv2
@torch.no_grad()
def test_a_changed_patch_shows_most_at_its_own_place_under_every_attention(theirs: Any) -> None:
    vision = of(theirs).vision
    image = torch.rand(1, 3, 32, 48)
    for attention in vision.attentions:
        found = vision.dense_embedding(image, attention)
        assert found.shape == (1, 16, 4, 6)
        moved = image.clone()
        moved[..., :8, :8] = 0  # the first patch alone
        change = (vision.dense_embedding(moved, attention) - found).norm(dim=1)[0]
        assert change.argmax() == 0


@pytest.mark.parametrize("kind", TOWER_KINDS.values(), ids=lambda kind: kind.name)
def test_a_kind_that_this_transformers_lacks_names_the_version_that_has_it(
    kind: TowerKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escnet.towers.kind.transformers.__version__", "4.56.1")
    with pytest.raises(
        ConfigError, match=f"needs transformers {kind.transformers} or later, and 4.56.1 is"
    ):
        tower_kind(kind.name)


def test_transformers_5_13_has_no_tipsv2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escnet.towers.kind.transformers.__version__", "5.13.1")
    with pytest.raises(ConfigError, match=r"pip install 'transformers>=5\.14,<6'"):
        tower_kind("tipsv2")
    monkeypatch.setattr("escnet.towers.kind.transformers.__version__", "5.14.0")
    assert tower_kind("tipsv2") is TIPSV2
