import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError
from escnet.evaluation.evaluate import evaluate, predict_with
from escnet.inference.segmenter import Segmenter
from escnet.training.assembly import build_network, sentence_vectors
from escnet.training.config import Recipe
from escnet.training.detail import (
    DetailData,
    DetailLoss,
    DetailTask,
    detail_parts,
)
from escnet.training.detail_content import DetailContent
from escnet.training.examples import ExampleSource, Views
from escnet.training.loop import Progress
from escnet.training.loss import UNKNOWN, partial_label_loss
from escnet.training.run import train
from escnet.training.task import Share
from escnet.weights.checkpoint import load_checkpoint
from tests.training.conftest import CLASSES, JOINT_DIM, NETWORK

MakeRecipe = Callable[..., Recipe]
TEXTS = torch.randn(len(CLASSES), JOINT_DIM, generator=torch.Generator().manual_seed(1))
MODEL: dict[str, Any] = {"sam": "none", "share_prior": 0.5, "upsampling": "guided"}


class Stop(Exception):  # noqa: N818 -- what a test raises to end a run in the middle
    """The machine was turned off."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, make_recipe: MakeRecipe, cache: Path) -> Path:
    """A finished network, of hardly any training."""
    recipe = make_recipe(model=MODEL, alignment_steps=2, steps=2)
    return train(recipe, tmp_path_factory.mktemp("runs") / "start", cache=cache)


def detail_recipe(
    start: Path,
    data_folder: Path,
    *,
    data: dict[str, Any] | None = None,
    parts: dict[str, Any] | None = None,
    **training: Any,
) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"settings": {**NETWORK, **MODEL, "detail": True}},
            "parts": {"start_from": start, "start_with": "everything", **(parts or {})},
            "data": {
                "train": data_folder,
                "views": {"whole": 0.0},
                "detail": {"side": 64, "most_names": 3},
                **(data or {}),
            },
            "training": {"alignment_steps": 0, "steps": 4, "batch_size": 2, "save_every": 3}
            | training,
        }
    )


def task_of(recipe: Recipe, cache: Path) -> DetailTask:
    assert recipe.data is not None
    dataset = FolderDataset.read(recipe.data.train)
    data = DetailData(
        dataset=dataset,
        embedding=TEXTS,
        wordings=[[index] for index in range(len(CLASSES))],
        section=recipe.data,
        cache=cache,
    )
    return DetailTask(build_network(recipe, dataset)[0], data, recipe.training)


def losses_of(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_detail_is_trained_and_nothing_else(
    start: Path, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = detail_recipe(start, data_folder, data={"validate_on": data_folder}, tower_rate=0.5)
    model = train(recipe, tmp_path / "run", cache=cache)
    network = load_checkpoint(model)
    assert network.config.detail
    before, after = load_checkpoint(start).state_dict(), network.state_dict()
    assert {name for name in after if name not in before} == {n for n in after if "detail." in n}
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert detail_parts(network).branch.is_begun
    own = {n: v for n, v in after.items() if n.startswith("vision.detail.net.")}
    moved = [
        n for n, v in own.items() if not torch.equal(v, before[n.replace("detail.net", "net")])
    ]
    assert moved
    assert not [name for name in moved if "running_" in name]
    assert json.loads((tmp_path / "run" / "scores.json").read_text()).keys() == {"voc", "street"}


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_happened(
    start: Path, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = detail_recipe(start, data_folder)
    train(recipe, tmp_path / "whole", cache=cache)

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Stop

    with pytest.raises(Stop):
        train(recipe, tmp_path / "run", cache=cache, on_step=stop)
    train(recipe, tmp_path / "run", cache=cache, resume=True)
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")


def test_what_it_adds_lowers_the_loss(
    start: Path, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = detail_recipe(start, data_folder, steps=30, learning_rate=1e-2, tower_rate=0.1)
    train(recipe, tmp_path / "run", cache=cache)
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_a_trained_detail_is_gone_on_with(
    start: Path, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    first = train(detail_recipe(start, data_folder), tmp_path / "first", cache=cache)
    recipe = detail_recipe(first, data_folder)
    branch = detail_parts(task_of(recipe, tmp_path).network).branch
    expected = detail_parts(load_checkpoint(first)).branch.state_dict()
    assert all(torch.equal(v, expected[n]) for n, v in branch.state_dict().items())


def test_a_portion_is_one_part_of_one_picture_on_all_grids(
    start: Path, data_folder: Path, tmp_path: Path
) -> None:
    task = task_of(detail_recipe(start, data_folder), tmp_path)
    portions = [portion for step in task.batches(0, Share()) for portion in step]
    assert [portion.place for portion in portions] == [0, 1] * 4
    for portion in portions:
        content = portion.content
        assert isinstance(content, DetailContent)
        num_names = len(content.text)
        assert 2 <= num_names <= 3
        assert content.image.shape == (3, 64, 64)
        assert content.target.shape == (32, 32)
        assert content.logits.shape == (num_names, 32, 32)
        assert content.vit.shape == (32, 4, 4)
        assert content.joint.shape == (JOINT_DIM, 4, 4)
        assert content.target.max() < num_names
        assert content.share == 0.5


def test_a_portion_holds_what_is_known_of_the_part_that_it_shows(
    start: Path, data_folder: Path, tmp_path: Path
) -> None:
    undisturbed = {"detail": {"side": 64, "most_names": 3, "disturbed": 0.0}}
    recipe = detail_recipe(start, data_folder, data=undisturbed, steps=8)
    task = task_of(recipe, tmp_path / "cache")
    items = {item.stem: item for item in FolderDataset.read(data_folder)}
    assert recipe.data is not None
    assert recipe.data.detail is not None
    drawn = ExampleSource(
        FolderDataset.read(data_folder),
        side=32,
        source_weights={},
        views=Views(settings=recipe.data.views, side=64),
    )
    mirrored = []
    for step, portions in enumerate(task.batches(0, Share())):
        for portion in portions:
            random = np.random.default_rng([recipe.training.seed, step, portion.place])
            example, content = drawn.draw(random, None), portion.content
            finished = task.finished.of(items[example.item.stem], example.names)
            part = example.part
            mirrored.append(part.is_mirrored)
            assert torch.equal(content.image, example.image)
            assert torch.equal(content.logits, part.of(finished.logits, 32))
            assert torch.equal(content.vit, part.of(finished.vit, 4))
            assert torch.equal(content.joint, part.of(finished.joint, 4))
            assert torch.equal(content.text, task.data.embedding[finished.names])
            for place, name in enumerate(finished.names):
                own = content.target == place
                assert torch.equal(own, example.target == example.names.tolist().index(name))
    assert set(mirrored) == {True, False}


def test_logits_are_disturbed_as_often_as_the_recipe_says(
    start: Path, data_folder: Path, tmp_path: Path
) -> None:
    parts = {}
    for share in (0.0, 0.5, 1.0):
        data = {"detail": {"side": 64, "most_names": 3, "disturbed": share}}
        task = task_of(detail_recipe(start, data_folder, data=data, steps=15), tmp_path)
        parts[share] = [one.content for step in task.batches(0, Share()) for one in step]
    same = {
        share: [
            torch.equal(one.logits, own.logits)
            for one, own in zip(contents, parts[0.0], strict=True)
        ]
        for share, contents in parts.items()
    }
    assert not any(same[1.0])
    assert 8 < sum(same[0.5]) < 22
    for one, own in zip(parts[1.0], parts[0.0], strict=True):
        assert torch.equal(one.image, own.image)
        assert torch.equal(one.vit, own.vit)


def test_parts_are_pasted_into_as_often_as_the_recipe_says(
    start: Path, data_folder: Path, tmp_path: Path
) -> None:
    num_changed = {}
    parts: dict[float, list[DetailContent]] = {}
    for share in (0.0, 0.5, 1.0):
        detail = {"side": 64, "most_names": 3, "disturbed": 0.0, "pasted": share}
        recipe = detail_recipe(start, data_folder, data={"detail": detail}, steps=15)
        task = task_of(recipe, tmp_path)
        parts[share] = [one.content for step in task.batches(0, Share()) for one in step]
        num_changed[share] = sum(
            not torch.equal(one.image, own.image)
            for one, own in zip(parts[share], parts[0.0], strict=True)
        )
    assert num_changed[0.0] == 0
    assert 0 < num_changed[0.5] < num_changed[1.0]
    assert num_changed[1.0] > len(parts[0.0]) / 2  # some pictures show nothing to paste
    for content in parts[1.0]:
        assert content.target.max() < len(content.names) == len(content.text) == len(content.logits)


def test_only_parts_of_the_sources_named_are_made_harder(
    start: Path, data_folder: Path, tmp_path: Path
) -> None:
    changed = {}
    for harder in ((), ("street",), None):
        detail = {"side": 64, "most_names": 3, "disturbed": 1.0, "pasted": 1.0, "harder": harder}
        recipe = detail_recipe(start, data_folder, data={"detail": detail}, steps=15)
        task = task_of(recipe, tmp_path)
        random = [np.random.default_rng([recipe.training.seed, step, 0]) for step in range(15)]
        for step, portions in zip(range(15), task.batches(0, Share()), strict=True):
            plain, source = task._part(random[step])
            found = portions[0].content
            changed[harder, step] = not (
                plain.logits.shape == found.logits.shape and torch.equal(plain.logits, found.logits)
            )
            if harder == ("street",):
                assert changed[harder, step] == (source == "street")
    num_changed = {h: sum(changed[h, step] for step in range(15)) for h in ((), ("street",), None)}
    assert num_changed[()] == 0
    assert 0 < num_changed["street",] < num_changed[None] == 15


def test_a_source_that_is_not_there_cannot_be_made_harder(
    start: Path, data_folder: Path, tmp_path: Path
) -> None:
    detail = {"side": 64, "most_names": 3, "harder": ["road"]}
    recipe = detail_recipe(start, data_folder, data={"detail": detail})
    with pytest.raises(ConfigError, match=r"detail\.harder: no source 'road': choose from "):
        task_of(recipe, tmp_path)


def test_names_withheld_are_asked_nowhere(start: Path, data_folder: Path, tmp_path: Path) -> None:
    recipe = detail_recipe(start, data_folder, data={"withheld": ("sky",)}, steps=6)
    for portions in task_of(recipe, tmp_path).batches(0, Share()):
        for portion in portions:
            assert not (portion.content.text == TEXTS[0]).all(dim=1).any()
            assert (portion.content.target == UNKNOWN).any()


def test_the_checkpoints_detail_is_centred_on_the_class_names_and_weaker_for_rare_ones(
    start: Path, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    dataset = FolderDataset.read(data_folder)
    num_pictures = ExampleSource(dataset, side=32, source_weights={}).num_pictures()
    pixel = torch.randn(1, 32, 4, 4)
    gains = []
    for most_kept, enough in ((1.0, 0), (0.5, int(num_pictures.max()))):
        end = {"most_kept": most_kept, "enough_pictures": enough}
        data = {"detail": {"side": 64, "most_names": 3, **end}}
        recipe = detail_recipe(start, data_folder, data=data, learning_rate=1e-2)
        network = load_checkpoint(train(recipe, tmp_path / str(most_kept), cache=cache))
        _, tokenize = build_network(recipe, dataset)
        with torch.no_grad():
            text = network.text.to_joint(sentence_vectors(network, tokenize, CLASSES))
            gains.append(detail_parts(network).logits(pixel, text)[0])
    centred, weak = gains
    assert centred.abs().max() > 1e-2
    assert centred.mean(dim=0).abs().max() < 1e-4
    share = 0.5 * torch.from_numpy(num_pictures / num_pictures.max()).float()
    assert share.unique().numel() > 2
    torch.testing.assert_close(
        weak, share[:, None, None] * centred, atol=0.05 * float(centred.abs().max()), rtol=0
    )


def test_what_was_seen_before_stays_seen(start: Path, data_folder: Path, tmp_path: Path) -> None:
    recipe = detail_recipe(start, data_folder, data={"withheld": ("dog",)}, steps=1)
    model = train(recipe, tmp_path / "run", cache=tmp_path / "cache")
    assert load_checkpoint(model).config.trained_on == tuple(CLASSES)


def test_a_detail_is_taken_over_whole_among_other_parts(
    start: Path,
    make_recipe: MakeRecipe,
    data_folder: Path,
    cache: Path,
    tmp_path: Path,
) -> None:
    model = train(detail_recipe(start, data_folder), tmp_path / "detail", cache=cache)
    recipe = make_recipe(model={**MODEL, "detail": True})
    assert recipe.parts is not None
    parts = recipe.parts.model_copy(update={"start_from": model, "start_with": "everything"})
    network, _ = build_network(
        recipe.model_copy(update={"parts": parts}), FolderDataset.read(data_folder)
    )
    found, expected = network.state_dict(), load_checkpoint(model).state_dict()
    own = [name for name in expected if "detail." in name]
    assert any(name.startswith("vision.detail.net.") for name in own)
    assert [name for name in own if not torch.equal(found[name], expected[name])] == []


def test_scores_of_a_network_with_detail_are_of_pictures(
    start: Path, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    """Also where feature maps are stored, which the detail cannot be read off."""
    model = train(detail_recipe(start, data_folder), tmp_path / "detail", cache=cache)
    recipe = Recipe.model_validate(
        {
            **detail_recipe(model, data_folder).model_dump(),
            "data": {"train": data_folder, "validate_on": data_folder},
            "training": {"alignment_steps": 0, "steps": 1, "batch_size": 1},
        }
    )
    found = train(recipe, tmp_path / "run", cache=cache)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    segmenter = Segmenter.load(found, device="cpu")
    expected = evaluate(FolderDataset.read(data_folder), predict_with(segmenter))
    for name, score in scores.items():
        assert score["pixel_accuracy"] == pytest.approx(expected[name].pixel_accuracy, abs=1e-4)


def test_two_processes_share_a_batch_out(start: Path, data_folder: Path, tmp_path: Path) -> None:
    task = task_of(detail_recipe(start, data_folder), tmp_path)
    (alone, *_), (first, *_), (second, *_) = (
        list(task.batches(3, share)) for share in (Share(), Share(0, 2), Share(1, 2))
    )
    assert len(alone) == 2
    for one, other in zip(alone, [*first, *second], strict=True):
        assert one.place == other.place
        assert torch.equal(one.content.image, other.content.image)
        assert torch.equal(one.content.logits, other.content.logits)


@torch.no_grad()
def test_the_loss_by_hand(start: Path, data_folder: Path, tmp_path: Path) -> None:
    """Until it is begun it adds nothing: the finished network's own loss is left."""
    recipe = detail_recipe(start, data_folder, binary_weight=0.5, overlap_weight=2.0, dropout=0.0)
    task = task_of(recipe, tmp_path)
    content = next(task.batches(0, Share()))[0].content
    assert isinstance(task.loss, DetailLoss)
    shifted = content.logits + content.shift[:, None, None]
    expected = partial_label_loss(
        content.logits, content.target, binary_weight=0.5, cross_weight=0.0
    ) + partial_label_loss(shifted, content.target, binary_weight=0.0, overlap_weight=2.0)
    torch.testing.assert_close(task.loss(content), expected / 2)
    assert content.shift.abs().max() > 0.1
    parts = detail_parts(task.network)
    parts.branch.pixel.bias[0] = 3.0
    parts.logits.query.weight[0] = 1.0
    assert not torch.isclose(task.loss(content), expected / 2)


def test_a_name_is_blurred_but_keeps_its_direction(
    start: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(detail_recipe(start, data_folder), tmp_path)
    content = next(task.batches(0, Share()))[0].content
    seen: list[Tensor] = []
    logits = detail_parts(task.network).logits
    forward = logits.forward

    def spy(pixel: Tensor, text: Tensor) -> Tensor:
        seen.append(text)
        return forward(pixel, text)

    monkeypatch.setattr(logits, "forward", spy)
    for _ in range(2):
        task.loss(content)
    assert not torch.equal(*seen)
    cosine = F.cosine_similarity(torch.cat(seen), content.text.repeat(2, 1))
    assert cosine.min() > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"views": None}}, "data.views is missing"),
        ({"data": {"captions": {"root": ".", "names_of": "voc"}}}, "data.captions is given"),
        ({"alignment_steps": 3}, "training.alignment_steps is 3"),
        ({"head_rate": 0.7}, "head_rate is 0.7, but data.detail has no use for it"),
        ({"compile": True}, "compile is True, but data.detail has no use for it"),
        ({"parts": {"sam_embeddings": "x"}}, "parts.sam_embeddings is given"),
        ({"data": {"detail": {"side": 50}}}, "multiple of 32"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(
    changes: dict[str, Any], message: str, data_folder: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        detail_recipe(data_folder, data_folder, **changes)


def test_parts_without_a_finished_network_are_refused(
    make_recipe: MakeRecipe,
) -> None:
    with pytest.raises(ValueError, match=r"data\.detail needs a finished network"):
        make_recipe(data={"views": {}, "detail": {}}, alignment_steps=0)


def test_a_network_without_detail_is_refused(
    start: Path, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = detail_recipe(start, data_folder)
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"settings": {**NETWORK, **MODEL}})}
    )
    with pytest.raises(ConfigError, match=r"set model\.settings\.detail = true"):
        train(recipe, tmp_path / "run", cache=cache)
