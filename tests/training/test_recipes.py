import json
from pathlib import Path

import pytest

from escnet import Segmenter
from escnet.training.assembly import config_of
from escnet.training.config import read_recipe
from escnet.training.run import train

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_one(path: Path) -> None:
    config_of(read_recipe(path))


@pytest.mark.parametrize("name", ["coco-stuff-vit-b-16", "coco-stuff-vit-l-14"])
def test_the_papers_recipes_have_the_papers_numbers(name: str) -> None:
    recipe = read_recipe(ROOT / "recipes" / f"{name}.toml")
    training, towers, config = recipe.training, recipe.towers, config_of(recipe)
    assert training.learning_rate == 2e-4
    assert training.learning_rate * towers.clip_rate == pytest.approx(2e-6)
    assert training.learning_rate * towers.sam_rate == pytest.approx(2e-6)
    assert (training.steps, training.batch_size) == (80_000, 4)
    assert (config.num_blocks, config.regions_per_class) == (4, 5)
    assert config.sam == "pretrained"
    assert [source.data for source in recipe.pictures.sources] == ["coco-stuff-train"]


def test_the_smoke_recipe_trains_on_pictures_to_a_model_that_beats_one_name_for_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    recipe = read_recipe(ROOT / "recipes" / "tiny-smoke.toml")
    model = train(recipe, tmp_path / "run", cache=tmp_path / "cache")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["shapes"]["pixel_accuracy"] > 0.6  # the most frequent name has 0.49
    result = Segmenter.load(model).segment(
        ROOT / "recipes/shapes/images/shapes__0.png", ["grass", "sky"]
    )
    assert result.label_map.shape == (48, 64)
    assert sorted(path.name for path in (tmp_path / "run" / "sheets").iterdir()) == [
        "step-00000030.jpg",
        "step-00000060.jpg",
    ]
