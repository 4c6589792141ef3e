import math
from collections.abc import Callable

import pytest
import torch

from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.training.config import TrainingSection
from escnet.training.frozen_towers import frozen_towers_groups as parameter_groups
from escnet.training.schedule import cosine_share
from tests.mini.conftest import MINI

NETWORK = {
    "vision_config": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "image_size": 28, "patch_size": 14},
    "layers": [1, 2],
    "head_dim": 8,
    "text_config": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "intermediate_size": 16, "vocab_size": 10},
    "image_size": 32, "joint_dim": 12, "num_blocks": 1, "sam": "random", "sam_dim": 32,
    "sam_mlp_dim": 32, "hidden_dim": 8, "num_heads": 2, "window": 2,
}  # fmt: skip


@pytest.fixture
def network() -> Mini:
    return Mini(MiniConfig(**{**MINI, **NETWORK}))


@pytest.mark.parametrize(
    ("place", "warmup", "share"),
    [
        (0.0, 0.0, 1.0),  # without a warm-up it starts at the peak
        (0.5, 0.0, 0.5),
        (1.0, 0.0, 0.0),
        (0.0, 0.1, 0.001 / 0.101),
        (0.05, 0.1, 0.051 / 0.101),
        (0.1, 0.1, 1.0),
        (0.325, 0.1, 0.5 * (1 + math.sqrt(0.5))),  # a quarter of the way down
        (1.0, 0.1, 0.0),
    ],
)
def test_the_rate_goes_up_in_a_line_and_down_in_half_a_cosine(
    place: float, warmup: float, share: float
) -> None:
    assert cosine_share(place, warmup) == pytest.approx(share)


def test_towers_and_the_prompt_encoder_are_frozen_and_the_rest_is_trained(network: Mini) -> None:
    groups = parameter_groups(network, TrainingSection())
    trained = {name for group in groups.values() for name in group}
    assert trained == {name for name, p in network.named_parameters() if p.requires_grad}
    frozen = {name for name, _ in network.named_parameters()} - trained
    assert {".".join(name.split(".")[:2]) for name in frozen} == {
        "vision.vit",
        "vision.net",
        "text.tower",
        "prompt_encoder.point_embeddings",
        "prompt_encoder.not_a_point_embed",
        "prompt_encoder.no_mask_embed",
        "prompt_encoder.mask_downscaling",
    }


@pytest.mark.parametrize(
    ("kind", "is_of_it"),
    [
        ("head", lambda name: name.startswith(("vision.head.", "logit_"))),
        ("text", lambda name: name.startswith("text.to_joint.")),
        ("sam", lambda name: ".sam.two_way." in name or name.endswith(".sam.output_tokens")),
        (
            "blocks",
            lambda name: (
                name.startswith(("blocks.", "decoder.", "read_out.", "embed.", "to_sam_", "sam_n"))
                and ".sam.two_way." not in name
                and not name.endswith("output_tokens")
            ),
        ),
    ],
)
def test_each_rate_has_its_parameters(
    network: Mini, kind: str, is_of_it: Callable[[str], bool]
) -> None:
    groups = parameter_groups(network, TrainingSection())
    found = {name for (group, _), members in groups.items() if group == kind for name in members}
    assert found
    assert found == {
        name for name, p in network.named_parameters() if p.requires_grad and is_of_it(name)
    }


def test_only_matrices_decay(network: Mini) -> None:
    for (_, decay), group in parameter_groups(network, TrainingSection(weight_decay=0.3)).items():
        assert decay in {0.0, 0.3}
        for parameter in group.values():
            assert (parameter.ndim > 1) == (decay == 0.3)


def test_a_rate_of_nought_freezes_sams_transformer(network: Mini) -> None:
    groups = parameter_groups(network, TrainingSection(sam_rate=0.0))
    assert "sam" not in {kind for kind, _ in groups}
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not any(".two_way." in name or name.endswith("output_tokens") for name in trained)
    assert any(name.endswith("sam.take.weight") for name in trained)
    assert torch.is_tensor(network.blocks[0].sam.output_tokens)
