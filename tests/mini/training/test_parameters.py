"""What the built-in model's stages train, at which kind of rate, with how much weight decay."""

from collections.abc import Callable
from pathlib import Path

import pytest

from escnet.mini.network import Mini
from escnet.mini.training.plan import plan_mini
from escnet.training.recipe import Recipe
from escnet.training.stage import ParameterGroups, parameter_names
from tests.training_data import ALIGNMENT, EVERYTHING, RANDOM_SAM, WHOLE

MakeRecipe = Callable[..., Recipe]
GroupsOf = Callable[..., tuple[Mini, ParameterGroups]]


@pytest.fixture
def groups_of(make_recipe: MakeRecipe, tmp_path: Path) -> GroupsOf:
    def groups_of(
        stage: dict[str, object] = WHOLE, **settings: object
    ) -> tuple[Mini, ParameterGroups]:
        recipe = make_recipe(stage | settings, model=RANDOM_SAM | EVERYTHING)
        plan = plan_mini(recipe, tmp_path)
        return plan.network, plan.stages[0].groups

    return groups_of


def test_towers_prompt_encoder_presence_and_detail_are_frozen_and_the_rest_is_trained(
    groups_of: GroupsOf,
) -> None:
    network, groups = groups_of()
    frozen = {name for name, _ in network.named_parameters()} - parameter_names(groups)
    assert {".".join(name.split(".")[:2]) for name in frozen} == {
        "vision.vit",
        "vision.net",
        "vision.detail",
        "text.tower",
        "prompt_encoder.point_embeddings",
        "prompt_encoder.not_a_point_embed",
        "prompt_encoder.no_mask_embed",
        "prompt_encoder.mask_downscaling",
        "presence.scale",
        "presence.to_joint",
        "presence.shift",
        "detail.query",
        "detail.shift",
    }


def test_the_alignment_trains_the_maps_to_the_joint_space_alone(groups_of: GroupsOf) -> None:
    _, groups = groups_of(ALIGNMENT)
    assert {kind for kind, _ in groups} == {"head", "text"}
    assert all(
        name.startswith(("vision.head.", "text.to_joint.", "logit_"))
        for name in parameter_names(groups)
    )


@pytest.mark.parametrize(
    ("kind", "is_of_it"),
    [
        ("head", lambda name: name.startswith(("vision.head.", "logit_"))),
        ("text", lambda name: name.startswith("text.to_joint.")),
        ("sam", lambda name: ".sam.two_way." in name or name.endswith(".sam.output_tokens")),
        (
            "blocks",
            lambda name: (
                name.startswith(
                    ("blocks.", "decoder.", "read_out.", "embed.", "to_sam_", "sam_n", "upsampl")
                )
                and ".sam.two_way." not in name
                and not name.endswith("output_tokens")
            ),
        ),
    ],
)
def test_each_rate_has_its_parameters(
    groups_of: GroupsOf, kind: str, is_of_it: Callable[[str], bool]
) -> None:
    _, groups = groups_of()
    own = {name for (group, _), members in groups.items() if group == kind for name in members}
    assert own
    assert own == {name for name in parameter_names(groups) if is_of_it(name)}


def test_only_matrices_decay(groups_of: GroupsOf) -> None:
    _, groups = groups_of(weight_decay=0.3)
    for (_, decay), group in groups.items():
        assert decay in {0.0, 0.3}
        for parameter in group.values():
            assert (parameter.ndim > 1) == (decay == 0.3)


def test_a_rate_of_nought_freezes_sams_transformer(groups_of: GroupsOf) -> None:
    _, groups = groups_of(sam_rate=0.0)
    trained = parameter_names(groups)
    assert not any(".two_way." in name or name.endswith("output_tokens") for name in trained)
    assert any(name.endswith("sam.take.weight") for name in trained)


def test_of_the_image_nets_the_last_blocks_and_all_but_the_classifier_have_the_towers_rate(
    groups_of: GroupsOf,
) -> None:
    _, groups = groups_of(tower_rate=0.1, vit_blocks=1, views={})
    towers = {name for (kind, _), group in groups.items() if kind == "tower" for name in group}
    assert "vision.net._conv_stem.weight" in towers
    assert any(name.startswith("vision.vit.encoder.layer.1.") for name in towers)
    assert not any(name.startswith("vision.vit.encoder.layer.0.") for name in towers)
    assert not any(name.startswith("vision.net._fc.") for name in towers)
