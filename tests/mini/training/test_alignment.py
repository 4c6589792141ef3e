"""The alignment: which pictures, names and texts a step has."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from escnet.mini.training.alignment import CaptionBatch
from escnet.mini.training.plan import plan_mini
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from escnet.training.targets import NONE_OF_THEM
from tests.training_data import ALIGNMENT

MakeRecipe = Callable[..., Recipe]


def hundred_captions(root: Path) -> Path:
    """Pictures of one colour each, every other one with a cat in its text."""
    (root / "images").mkdir(parents=True)
    texts = {f"p{index}": ["a cat" if index % 2 else "a dog"] for index in range(100)}
    (root / "texts.json").write_text(json.dumps(texts))
    for stem in texts:
        Image.new("RGB", (8, 8), (2 * int(stem[1:]), 0, 0)).save(root / "images" / f"{stem}.png")
    return root


def caption_batches(recipe: Recipe, cache: Path) -> list[CaptionBatch]:
    torch.manual_seed(0)
    (stage,) = plan_mini(recipe, cache).stages
    stage.begin()
    batches = [microbatches[-1].batch for microbatches in stage.batches(0, Share())]
    return [one for one in batches if isinstance(one, CaptionBatch)]


def test_a_broken_picture_with_texts_is_replaced_and_no_other_is_touched(
    make_recipe: MakeRecipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = hundred_captions(tmp_path / "captions")
    recipe = make_recipe(
        ALIGNMENT | {"steps": 20}, data={"captions": {"root": root, "names_of": "voc"}}
    )
    sound = caption_batches(recipe, tmp_path / "cache")
    assert len(sound) == 20
    (root / "images" / "p7.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        found = caption_batches(recipe, tmp_path / "cache")
    others = [
        (before.inputs.vit[index], after.inputs.vit[index])
        for before, after in zip(sound, found, strict=True)
        for index in range(8)
    ]
    num_replaced = sum(not torch.equal(*pair) for pair in others)
    assert 0 < num_replaced <= 2  # 160 pictures, each of a hundred once or twice
    assert ["p7.png" in record.getMessage() for record in caplog.records] == [True]


def test_captions_bring_the_names_that_they_say_first(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    root = hundred_captions(tmp_path / "captions")
    recipe = make_recipe(
        ALIGNMENT | {"steps": 3}, data={"captions": {"root": root, "names_of": "voc"}}
    )
    batches = caption_batches(recipe, tmp_path / "cache")
    firsts = []
    for batch in batches:
        for rows, num_said in zip(batch.rows, batch.num_said, strict=True):
            assert num_said == 1
            assert sorted(rows) == [0, 1, 2, 3]  # what the source annotates
            firsts.append(rows[0])
    assert set(firsts) == {1, 2}  # a cat or a dog
    assert firsts.count(1) == pytest.approx(len(firsts) / 2, abs=len(firsts) / 4)


def test_a_withheld_name_is_never_asked_and_its_pixels_are_unknown(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(ALIGNMENT | {"steps": 10}, data={"withheld": ("cat",)})
    plan = plan_mini(recipe, tmp_path)
    assert "cat" not in plan.names
    (stage,) = plan.stages
    stage.begin()
    values = set()
    for (microbatch,) in stage.batches(0, Share()):
        for rows, target in microbatch.batch.targets:
            assert 1 not in rows  # the cat's
            values |= set(target.unique().tolist())
    assert -2 in values


def test_none_of_them_is_a_negative_for_all_names(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    (stage,) = plan_mini(make_recipe(ALIGNMENT | {"steps": 10}), tmp_path).stages
    stage.begin()
    targets = [
        target
        for (microbatch,) in stage.batches(0, Share())
        for _, target in microbatch.batch.targets
    ]
    assert any((target == NONE_OF_THEM).any() for target in targets)
