"""Training behind frozen towers: here, what happens to broken pictures with texts."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.training.assembly import build_network, sentence_vectors, wordings_of
from escnet.training.captions import CaptionedPictures
from escnet.training.config import Recipe
from escnet.training.examples import shared_classes
from escnet.training.frozen_towers import (
    Captions,
    CaptionsContent,
    FrozenTowersData,
    FrozenTowersTask,
)
from escnet.training.task import Share

MakeRecipe = Callable[..., Recipe]


def captions_folder(root: Path) -> Path:
    """Pictures of one colour each, every other one with a cat in its text."""
    (root / "images").mkdir(parents=True)
    texts = {f"p{index}": ["a cat" if index % 2 else "a dog"] for index in range(100)}
    (root / "texts.json").write_text(json.dumps(texts))
    for stem in texts:
        Image.new("RGB", (8, 8), (int(stem[1:]), 0, 0)).save(root / "images" / f"{stem}.png")
    return root


def captions_of_steps(recipe: Recipe) -> list[CaptionsContent]:
    assert recipe.data is not None
    assert recipe.data.captions is not None
    dataset = FolderDataset.read(recipe.data.train)
    network, tokenize = build_network(recipe, dataset)
    wordings, texts = wordings_of(shared_classes(dataset), {})
    pictures = CaptionedPictures.of(dataset, recipe.data.captions, wordings, texts)
    data = FrozenTowersData(
        dataset=dataset,
        store=None,
        sentences=sentence_vectors(network, tokenize, texts),
        wordings=wordings,
        section=recipe.data,
        captions=Captions(pictures, None, recipe.data.captions),
    )
    task = FrozenTowersTask(network, data, recipe.training)
    contents = [portions[-1].content for portions in task.batches(0, Share())]
    return [one for one in contents if isinstance(one, CaptionsContent)]


def test_a_broken_picture_with_texts_is_replaced_and_no_other_is_touched(
    make_recipe: MakeRecipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = captions_folder(tmp_path / "captions")
    section = {"root": root, "names_of": "voc", "batch_size": 6, "num_others": 2}
    recipe = make_recipe(data={"views": {}, "captions": section}, alignment_steps=0, steps=30)
    sound = captions_of_steps(recipe)
    broken = sound[3].pictures[0].item.stem
    (root / "images" / f"{broken}.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        found = captions_of_steps(recipe)
    num_replaced = 0
    for before, after in zip(sound, found, strict=True):
        for one, other, view, seen in zip(
            before.pictures, after.pictures, before.seen, after.seen, strict=True
        ):
            if one.item.stem == broken:
                num_replaced += 1
                assert other.item.stem != broken
                assert round(255 * float(seen[0, 0, 0])) == int(other.item.stem[1:])
            else:
                assert (one.item.stem, one.names.tolist()) == (
                    other.item.stem,
                    other.names.tolist(),
                )
                assert torch.equal(view, seen)
    assert num_replaced > 0
    assert [f"{broken}.png" in record.getMessage() for record in caplog.records] == [True]
