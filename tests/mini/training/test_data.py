"""Which labelled pictures a stage draws how often."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from escnet.errors import ConfigError
from escnet.mini.training.network import NetworkStage
from escnet.mini.training.plan import plan_mini
from escnet.training.recipe import Recipe
from tests.training_data import WHOLE

MakeRecipe = Callable[..., Recipe]
Drawn = Callable[..., Counter[str]]


@pytest.fixture
def drawn(make_recipe: MakeRecipe, tmp_path: Path) -> Drawn:
    def drawn(number: int, **settings: object) -> Counter[str]:
        """The pictures of as many examples, by their stems."""
        recipe = make_recipe(WHOLE | {"views": {"colour": 0.0}} | settings)
        (stage,) = plan_mini(recipe, tmp_path).stages
        assert isinstance(stage, NetworkStage)
        stage.begin()
        places = [stage._feed._examples._sampler.place_of(index) for index in range(number)]
        sources = stage._data.sources.sources
        return Counter(sources[one.source].pictures[one.row].stem for one in places)

    return drawn


def share_of(drawn: Counter[str], start: str) -> float:
    return sum(count for stem, count in drawn.items() if stem.startswith(start)) / drawn.total()


def test_every_picture_is_drawn_alike_where_the_recipe_says_nothing(drawn: Drawn) -> None:
    assert share_of(drawn(3000), "voc") == pytest.approx(4 / 6, abs=0.01)


def test_a_source_of_weight_nought_is_never_drawn_and_a_heavy_one_often(drawn: Drawn) -> None:
    assert share_of(drawn(200, source_weights={"street": 0.0}), "voc") == 1.0
    # Four pictures of weight 1 against two of weight 18: nine in ten.
    heavy = drawn(2000, source_weights={"street": 18.0})
    assert share_of(heavy, "street") == pytest.approx(0.9, abs=0.01)


def test_rare_names_are_drawn_more_often_and_leave_the_sources_their_shares(drawn: Drawn) -> None:
    plain, rare = drawn(3000), drawn(3000, rarity=1.0)
    assert share_of(rare, "street") == pytest.approx(share_of(plain, "street"), abs=0.01)
    # voc__1 is the only dog of four pictures; voc__0 and voc__3 show the same cat and sky.
    # Worth: sky 1/4, cat 1/2, dog and table 1, so pictures count 0.75, 1.25, 1.25, 0.75.
    assert plain["voc__1"] == pytest.approx(500, abs=5)
    assert rare["voc__1"] == pytest.approx(500 * 1.25, abs=40)
    assert rare["voc__0"] == pytest.approx(500 * 0.75, abs=40)


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        ({"source_weights": {"coco": 1.0}}, {}, r"no source 'coco': choose from street, voc"),
        ({}, {"withheld": ("cow",)}, r"data\.withheld: no class name 'cow'"),
        ({"source_weights": {"voc": 0.0, "street": 0.0}}, {}, r"source_weights are all 0: give"),
        ({}, {"synonyms": {"cow": ("bull",)}}, r"data\.synonyms: no class name 'cow'"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_computed(
    make_recipe: MakeRecipe,
    tmp_path: Path,
    settings: dict[str, object],
    data: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_mini(make_recipe(WHOLE | settings, data=data), tmp_path)
