"""Training behind frozen towers: broken pictures with texts, and an alignment without places."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.training.assembly import build_network, sentence_vectors, wordings_of
from escnet.training.captions import CaptionedPictures
from escnet.training.config import Recipe
from escnet.training.examples import shared_classes
from escnet.training.frozen_towers import (
    Captions,
    CaptionsContent,
    Content,
    FrozenTowersData,
    FrozenTowersTask,
    shown_names_loss,
)
from escnet.training.loss import NONE_OF_THEM, UNKNOWN
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


def task_of(recipe: Recipe) -> FrozenTowersTask:
    """The recipe's training, whose image nets see the pictures in every step."""
    assert recipe.data is not None
    dataset = FolderDataset.read(recipe.data.train)
    torch.manual_seed(0)
    network, tokenize = build_network(recipe, dataset)
    wordings, texts = wordings_of(shared_classes(dataset), {})
    captions, section = None, recipe.data.captions
    if section is not None:
        pictures = CaptionedPictures.of(dataset, section, wordings, texts)
        captions = Captions(pictures, None, section)
    data = FrozenTowersData(
        dataset=dataset,
        store=None,
        sentences=sentence_vectors(network, tokenize, texts),
        wordings=wordings,
        section=recipe.data,
        captions=captions,
    )
    return FrozenTowersTask(network, data, recipe.training)


def captions_of_steps(recipe: Recipe) -> list[CaptionsContent]:
    contents = [portions[-1].content for portions in task_of(recipe).batches(0, Share())]
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


def test_the_loss_of_shown_names_by_hand() -> None:
    logits = torch.tensor([[[3.0, 0.0]], [[-2.0, -1.0]], [[0.0, 2.0]]], requires_grad=True)
    target = torch.tensor([[NONE_OF_THEM, UNKNOWN, 2, 0]])  # 1 is not there
    # Of two patches the peak is the higher one.
    binary = (F.softplus(torch.tensor(-3.0)) + F.softplus(torch.tensor(-2.0))) / 2
    binary = binary + F.softplus(torch.tensor(-1.0))
    shares = logits.softmax(dim=0)[[0, 2]].amax(dim=(1, 2))
    wanted = binary - shares.log().mean()
    found = shown_names_loss(logits, target)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    found.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0] < 0 < logits.grad[1, 0, 1]


def test_a_picture_that_shows_no_name_has_no_loss_of_shown_names() -> None:
    logits = torch.ones(2, 3, 3, requires_grad=True)
    loss = shown_names_loss(logits, torch.full((4, 4), NONE_OF_THEM))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def losses_of_alignment(recipe: Recipe, *, is_moved: bool) -> list[float]:
    """With the label maps as they are, or turned upside down."""
    task = task_of(recipe)
    task.begin(0)
    losses = []
    for portions in task.batches(0, Share()):
        (portion,) = portions
        assert isinstance(portion.content, Content)
        pictures = [
            one._replace(
                example=replace(one.example, target=one.example.target.flip(0).contiguous())
            )
            if is_moved
            else one
            for one in portion.content.pictures
        ]
        losses.append(task.loss(replace(portion.content, pictures=pictures)).item())
    return losses


@pytest.mark.parametrize(("labels", "is_blind"), [("names", True), ("maps", False)])
def test_an_alignment_by_names_does_not_see_where_they_are(
    make_recipe: MakeRecipe, labels: str, is_blind: bool
) -> None:
    recipe = make_recipe(
        data={"views": {}}, alignment_labels=labels, alignment_steps=2, steps=0, dropout=0.0
    )
    as_it_is, moved = (losses_of_alignment(recipe, is_moved=one) for one in (False, True))
    assert len(as_it_is) == 2
    assert min(as_it_is) > 0
    assert (as_it_is == moved) == is_blind
