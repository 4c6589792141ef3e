"""What the paper's recipe trains, at which rate, with how much weight decay."""

import re

import pytest
import torch
from torch import nn

from escnet.catseg.config import CATSEG_PRESETS
from escnet.catseg.network import CatSeg
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.training.parameters import pictures_groups
from escnet.training.pictures_recipe import TowersSection
from escnet.training.stage import ParameterGroups

DECAY = 1e-4


def groups_of(
    network: EscNet | CatSeg, *, evidence: bool = True, **towers: object
) -> ParameterGroups:
    section = TowersSection.model_validate({"model": "", **towers})
    return pictures_groups(network, section, weight_decay=DECAY, has_evidence_loss=evidence)


def names_of(groups: ParameterGroups, kind: str) -> set[str]:
    return {name for (one, _), group in groups.items() if one == kind for name in group}


@pytest.fixture(params=["vit-b-16", "vit-l-14", "with masks"])
def network(request: pytest.FixtureRequest) -> EscNet:
    """The paper's network, without its numbers."""
    has_masks = request.param == "with masks"
    config = preset("vit-b-16" if has_masks else request.param)
    config.sam_masks = has_masks
    with torch.device("meta"):
        return EscNet(config)


def test_of_both_towers_only_queries_and_values_of_attention_are_trained(network: EscNet) -> None:
    found = names_of(groups_of(network), "towers")
    depth = network.config.vision_config["num_hidden_layers"]
    image = "vision.tower.vision_model.encoder.layers.{}.self_attn.{}_proj.weight"
    text = "text.tower.text_model.encoder.layers.{}.self_attn.{}_proj.weight"
    expected = {image.format(layer, part) for layer in range(depth) for part in "qv"}
    # Without a look at other patches the last block's queries reach no output.
    expected -= {image.format(depth - 1, "q")}
    expected |= {text.format(layer, part) for layer in range(12) for part in "qv"}
    assert found == expected


def test_the_towers_have_catsegs_number_of_trained_weights() -> None:
    with torch.device("meta"):
        network = EscNet(preset("vit-l-14"))
    groups = groups_of(network)
    number = sum(
        p.numel() for (kind, _), g in groups.items() if kind == "towers" for p in g.values()
    )
    assert number + 1024**2 == pytest.approx(64.49e6, rel=1e-4)  # with those idle queries


@pytest.mark.parametrize(
    ("trained", "pattern"),
    [
        ("all", r"^blocks\.\d\.sam\.(two_way\.|mask_head\.|output_tokens$)"),
        (
            "attention",
            r"^blocks\.\d\.sam\.(output_tokens$|(two_way|mask_head)\..*(attn|\.norm\d\.))",
        ),
        ("none", r"^$"),
    ],
)
def test_of_sam_as_much_is_trained_as_the_recipe_says(
    network: EscNet, trained: str, pattern: str
) -> None:
    groups = groups_of(network, sam_trained=trained)
    expected = {name for name, _ in network.named_parameters() if re.search(pattern, name)}
    assert names_of(groups, "sam") == expected
    assert bool(expected) == (trained != "none")
    assert not any(name.startswith("prompt_encoder.") for g in groups.values() for name in g)


def test_everything_else_but_towers_and_sam_is_trained_at_the_full_rate(network: EscNet) -> None:
    groups = groups_of(network)
    rest = {
        name
        for name, _ in network.named_parameters()
        if not name.startswith(("vision.", "text.", "prompt_encoder."))
        and not re.search(r"\.sam\.(two_way\.|mask_head\.|output_tokens$)", name)
    }
    assert names_of(groups, "head") == rest
    assert {"logit_scale", "embed.weight", "decoder.head.weight"} <= rest


def test_norms_and_tokens_do_not_decay_and_the_rest_does(network: EscNet) -> None:
    groups = groups_of(network)
    assert {decay for _, decay in groups} == {0.0, DECAY}
    still = {name for (_, decay), group in groups.items() if decay == 0 for name in group}
    modules = dict(network.named_modules())
    for name in {name for group in groups.values() for name in group}:
        owner = modules[name.rpartition(".")[0]]
        is_norm = isinstance(owner, nn.LayerNorm | nn.GroupNorm) or "Norm" in type(owner).__name__
        is_token = name.endswith(".output_tokens") or name.startswith("logit_")
        assert (name in still) == (is_norm or is_token), name
    assert any("norm" in name for name in still)


def test_maps_without_a_loss_of_their_own_are_not_trained(network: EscNet) -> None:
    """Blocks read their prompts off them without a gradient."""
    found = names_of(groups_of(network, evidence=False), "head")
    assert not any(name.startswith("read_out.") for name in found)


@pytest.mark.parametrize("frozen", [{"rate": 0.0}, {"trained": ()}])
def test_frozen_towers_are_frozen(network: EscNet, frozen: dict[str, object]) -> None:
    assert names_of(groups_of(network, **frozen), "towers") == set()


def test_of_catseg_all_but_the_towers_is_trained() -> None:
    network = CatSeg(CATSEG_PRESETS["tiny"]())
    groups = groups_of(network)
    assert {kind for kind, _ in groups} == {"head", "towers"}
    assert names_of(groups, "head") == {
        name for name, _ in network.named_parameters() if not name.startswith(("vision.", "text."))
    }


@pytest.mark.parametrize("kind", [EscNet, CatSeg])
def test_everything_that_is_trained_reaches_the_loss(kind: type[EscNet | CatSeg]) -> None:
    """A parameter without a gradient stops training on several GPUs."""
    torch.manual_seed(0)
    network = EscNet(preset("tiny")) if kind is EscNet else CatSeg(CATSEG_PRESETS["tiny"]())
    network.train()
    groups = groups_of(network)
    side = network.config.image_size
    text = network.encode_text(torch.randint(300, (3, 5)), torch.ones(3, 5, dtype=torch.long))
    found = network.segment(network.vision(torch.rand(1, 3, side, side)), text)
    loss = found.logits.square().mean()
    if isinstance(network, EscNet):
        loss = loss + torch.stack([one.square().mean() for one in found.evidence]).sum()
    loss.backward()
    for group in groups.values():
        for name, parameter in group.items():
            assert parameter.grad is not None, name
