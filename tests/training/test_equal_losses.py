"""What saves memory or time, and whatever reads the pictures, leaves the losses as they are."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escnet.training.recipe import Recipe
from escnet.training.run import train

MakeRecipe = Callable[..., Recipe]

STEPS = 5


def losses(recipe: Recipe, folder: Path) -> list[float]:
    train(recipe, folder, cache=folder / "cache")
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    found = [line["loss"] for line in lines if "loss" in line]
    assert len(found) == STEPS
    return found


@pytest.fixture
def plain(make_pictures_recipe: MakeRecipe, tmp_path: Path) -> list[float]:
    recipe = make_pictures_recipe(steps=STEPS, batch_size=4, learning_rate=1e-3)
    found = losses(recipe, tmp_path / "plain")
    assert len({round(loss, 4) for loss in found}) == STEPS  # it learns, so that errors would show
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"accumulation": 2},
        {"accumulation": 4},
        {"accumulation": 3},  # passes of two, one and one pictures
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "accumulation": 4},
        pytest.param({"compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_ways_to_save_memory_or_time_give_the_same_losses(
    make_pictures_recipe: MakeRecipe, plain: list[float], tmp_path: Path, change: dict[str, Any]
) -> None:
    recipe = make_pictures_recipe(steps=STEPS, batch_size=4, learning_rate=1e-3, **change)
    assert losses(recipe, tmp_path / "other") == pytest.approx(plain, rel=1e-5)


def test_workers_give_the_same_losses_bit_for_bit(
    make_pictures_recipe: MakeRecipe, plain: list[float], tmp_path: Path
) -> None:
    recipe = make_pictures_recipe(
        pictures={"workers": 2}, steps=STEPS, batch_size=4, learning_rate=1e-3
    )
    assert losses(recipe, tmp_path / "other") == plain


def test_half_precision_gives_nearly_the_same_losses(
    make_pictures_recipe: MakeRecipe, plain: list[float], tmp_path: Path
) -> None:
    recipe = make_pictures_recipe(steps=STEPS, batch_size=4, learning_rate=1e-3, dtype="bfloat16")
    found = losses(recipe, tmp_path / "other")
    assert found != plain
    assert found == pytest.approx(plain, rel=0.05)


def test_as_many_names_for_a_picture_as_there_are_is_the_whole_vocabulary(
    make_pictures_recipe: MakeRecipe, tmp_path: Path
) -> None:
    shapes = {"sources": [{"data": "folder", "root": Path(__file__).parents[2] / "recipes/shapes"}]}
    found = [
        losses(
            make_pictures_recipe(
                pictures={**shapes, "names_per_picture": number}, steps=STEPS, learning_rate=1e-3
            ),
            tmp_path / str(number),
        )
        for number in (0, 4, 3)
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] != pytest.approx(found[0], rel=1e-2)


def test_cross_entropy_is_another_loss(
    make_pictures_recipe: MakeRecipe, plain: list[float], tmp_path: Path
) -> None:
    recipe = make_pictures_recipe(
        pictures={"loss": "ce"}, steps=STEPS, batch_size=4, learning_rate=1e-3
    )
    found = losses(recipe, tmp_path / "other")
    assert all(math.isfinite(loss) for loss in found)
    assert found[0] > 1.2 * plain[0]
