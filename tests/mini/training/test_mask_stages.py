"""The stages that learn from label maps: which pictures, names and texts a step has."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from escnet.mini.training.mask_loss import CaptionBatch, MaskBatch
from escnet.mini.training.mask_stages import AlignmentStage, NetworkStage
from escnet.mini.training.plan import plan_mini
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from escnet.training.targets import NONE_OF_THEM
from tests.training_data import ALIGNMENT, WHOLE

MakeRecipe = Callable[..., Recipe]


def hundred_captions(root: Path) -> Path:
    """Pictures of one colour each, every other one with a cat in its text."""
    (root / "images").mkdir(parents=True)
    texts = {f"p{index}": ["a cat" if index % 2 else "a dog"] for index in range(100)}
    (root / "texts.json").write_text(json.dumps(texts))
    for stem in texts:
        Image.new("RGB", (8, 8), (int(stem[1:]), 0, 0)).save(root / "images" / f"{stem}.png")
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
    section = {"root": root, "names_of": "voc", "batch_size": 6, "num_others": 2}
    recipe = make_recipe(WHOLE | {"steps": 30, "views": {}}, data={"captions": section})
    sound = caption_batches(recipe, tmp_path / "cache")
    assert len(sound) == 30
    assert isinstance(sound[3].inputs, Tensor)
    red = round(255 * float(sound[3].inputs[0, 0, 0, 0]))  # which says the picture
    (root / "images" / f"p{red}.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        found = caption_batches(recipe, tmp_path / "cache")
    num_replaced = 0
    for before, after in zip(sound, found, strict=True):
        for index, image in enumerate(before.inputs):
            own = round(255 * float(image[0, 0, 0]))
            if own == red:
                num_replaced += 1
                assert not torch.equal(image, after.inputs[index])
            else:
                assert torch.equal(image, after.inputs[index])
                assert before.rows[index] == after.rows[index]
    assert num_replaced > 0
    assert [f"p{red}.png" in record.getMessage() for record in caplog.records] == [True]


def test_captions_bring_the_names_that_they_say_first(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    root = hundred_captions(tmp_path / "captions")
    section = {"root": root, "names_of": "voc", "batch_size": 6, "num_others": 2}
    recipe = make_recipe(WHOLE | {"steps": 3, "views": {}}, data={"captions": section})
    for batch in caption_batches(recipe, tmp_path / "cache"):
        for image, rows, num_said in zip(batch.inputs, batch.rows, batch.num_said, strict=True):
            says_cat = round(255 * float(image[0, 0, 0])) % 2
            assert num_said == 1
            assert rows[0] == (1 if says_cat else 2)
            assert len(rows) == 3


def test_every_name_asked_is_shown_or_another_of_the_source(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    annotated = {"voc": {"sky", "cat", "dog", "diningtable"}, "street": {"sky", "tram"}}
    plan = plan_mini(make_recipe(WHOLE | {"steps": 30, "names_per_picture": 3}), tmp_path)
    (stage,) = plan.stages
    assert isinstance(stage, NetworkStage)
    stage.begin()
    for (microbatch,) in stage.batches(0, Share()):
        batch = microbatch.batch
        assert isinstance(batch, MaskBatch)
        ((rows, target),) = batch.some_names
        names = {plan.names[row] for row in rows}
        (every, _) = batch.all_names[0]
        source = "street" if len(every) == 2 else "voc"
        assert {plan.names[row] for row in every} == annotated[source]
        assert names <= annotated[source]
        assert len(names) == len(rows) == min(3, len(every))
        assert target.max() < len(rows)
        assert batch.inputs[0].shape[0] == 1


def test_a_withheld_name_is_never_asked_and_its_pixels_are_unknown(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(ALIGNMENT | {"steps": 10}, data={"withheld": ("cat",)})
    plan = plan_mini(recipe, tmp_path)
    assert "cat" not in plan.names
    (stage,) = plan.stages
    assert isinstance(stage, AlignmentStage)
    stage.begin()
    values = set()
    for (microbatch,) in stage.batches(0, Share()):
        for rows, target in microbatch.batch.all_names:
            assert 1 not in rows  # the cat's
            values |= set(target.unique().tolist())
    assert -2 in values


def losses_of_alignment(recipe: Recipe, cache: Path, *, is_moved: bool) -> list[float]:
    """With the label maps as they are, or turned upside down."""
    torch.manual_seed(0)
    (stage,) = plan_mini(recipe, cache).stages
    loss = stage.begin()
    stage.set_mode()
    losses = []
    for (microbatch,) in stage.batches(0, Share()):
        batch = microbatch.batch
        targets = [
            one._replace(target=one.target.flip(0).contiguous()) if is_moved else one
            for one in batch.all_names
        ]
        losses.append(loss(replace(batch, all_names=targets)).item())
    return losses


@pytest.mark.parametrize(("labels", "is_blind"), [("names", True), ("maps", False)])
def test_an_alignment_by_names_does_not_see_where_they_are(
    make_recipe: MakeRecipe, tmp_path: Path, labels: str, is_blind: bool
) -> None:
    recipe = make_recipe(ALIGNMENT | {"labels": labels, "steps": 2, "dropout": 0.0})
    as_it_is, moved = (losses_of_alignment(recipe, tmp_path, is_moved=one) for one in (False, True))
    assert len(as_it_is) == 2
    assert min(as_it_is) > 0
    assert (as_it_is == moved) == is_blind


def test_none_of_them_is_a_negative_for_all_names(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    (stage,) = plan_mini(make_recipe(ALIGNMENT | {"steps": 10}), tmp_path).stages
    stage.begin()
    targets = [
        target
        for (microbatch,) in stage.batches(0, Share())
        for _, target in microbatch.batch.all_names
    ]
    assert any((target == NONE_OF_THEM).any() for target in targets)
