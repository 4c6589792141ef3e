"""The stage of the detail branch: which parts it is shown, and what it leaves."""

import functools
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
from escnet.evaluation.evaluate import evaluate
from escnet.evaluation.model_answers import predict_with
from escnet.inference.segmenter import Segmenter
from escnet.mini.detail import DetailLogits
from escnet.mini.network import Mini
from escnet.mini.training.detail import DetailStage
from escnet.mini.training.detail_part import DetailPart
from escnet.mini.training.parts import load_part_tokenizer
from escnet.mini.training.plan import plan_mini
from escnet.mini.training.texts import sentence_vectors
from escnet.training.loss import binary_loss, cross_loss, overlap_loss
from escnet.training.pace import StepReport
from escnet.training.pictures_recipe import SourceSection
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from escnet.training.run import train
from escnet.training.sources import read_sources
from escnet.training.targets import UNKNOWN
from escnet.weights.checkpoint import load_checkpoint
from tests.training_data import ALIGNMENT, DETAIL, JOINT_DIM, WHOLE

MakeRecipe = Callable[..., Recipe]
MakeDetailRecipe = Callable[..., Recipe]
MadeHarder = Callable[..., list[DetailPart]]
MODEL: dict[str, Any] = {"sam": "none", "share_prior": 0.5, "upsampling": "guided"}
PARTS = DETAIL | {"batch_size": 2, "side": 64}


class Stop(Exception):  # noqa: N818 -- what a test raises to end a run in the middle
    """The machine was turned off."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, make_recipe: MakeRecipe, cache: Path) -> Path:
    """A network of hardly any training."""
    recipe = make_recipe(ALIGNMENT | {"steps": 2}, WHOLE | {"steps": 2}, model=MODEL)
    return train(recipe, tmp_path_factory.mktemp("runs") / "start", cache=cache)


@pytest.fixture(scope="module")
def detail_recipe(start: Path, make_recipe: MakeRecipe) -> MakeDetailRecipe:
    """A recipe of the one stage behind that network."""

    def make(*, start: Path = start, data: dict[str, Any] | None = None, **settings: Any) -> Recipe:
        return make_recipe(
            PARTS | settings, parts={"start_from": start}, model={"detail": True}, data=data
        )

    return make


def stage_of(recipe: Recipe, cache: Path) -> DetailStage:
    """The stage, ready for its first step."""
    (stage,) = plan_mini(recipe, cache).stages
    assert isinstance(stage, DetailStage)
    stage.begin()
    return stage


def parts_of(stage: DetailStage, share: Share | None = None) -> list[DetailPart]:
    return [one.batch for step in stage.batches(0, share or Share()) for one in step]


@pytest.fixture(scope="module")
def made_harder(detail_recipe: MakeDetailRecipe, cache: Path) -> MadeHarder:
    """Twenty parts by settings, each made once: the same but for what makes them harder."""

    @functools.cache
    def make(**settings: Any) -> list[DetailPart]:
        recipe = detail_recipe(**{"disturbed": 0.0, "steps": 10} | settings)
        return parts_of(stage_of(recipe, cache))

    return make


def losses_of(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run_recipe(detail_recipe: MakeDetailRecipe, data_folder: Path) -> Recipe:
    """Of the run that many tests look at."""
    data = {"validate_on": data_folder, "withheld": ("dog",)}
    return detail_recipe(data=data, tower_rate=0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, run_recipe: Recipe, cache: Path) -> Path:
    """The folder of a run from beginning to end."""
    folder = tmp_path_factory.mktemp("runs") / "detail"
    train(run_recipe, folder, cache=cache)
    return folder


def test_the_detail_is_trained_and_nothing_else(start: Path, run: Path) -> None:
    network = load_checkpoint(run / "model")
    assert network.config.detail
    before, after = load_checkpoint(start).state_dict(), network.state_dict()
    assert {name for name in after if name not in before} == {n for n in after if "detail." in n}
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    own = {n: v for n, v in after.items() if n.startswith("vision.detail.net.")}
    moved = [
        n for n, v in own.items() if not torch.equal(v, before[n.replace("detail.net", "net")])
    ]
    assert moved
    assert not [name for name in moved if "running_" in name]


def test_what_was_seen_before_stays_seen(start: Path, run: Path) -> None:
    assert "dog" in load_checkpoint(start).config.trained_on
    assert "dog" in load_checkpoint(run / "model").config.trained_on


def test_scores_on_the_way_are_those_of_the_model_in_use(run: Path, data_folder: Path) -> None:
    scores = json.loads((run / "scores.json").read_text())
    assert scores.keys() == {"voc", "street"}
    segmenter = Segmenter.load(run / "model", device="cpu")
    expected = evaluate(FolderDataset.read(data_folder), predict_with(segmenter))
    for name, score in scores.items():
        assert score["pixel_accuracy"] == pytest.approx(expected[name].pixel_accuracy, abs=1e-4)


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_happened(
    run: Path, run_recipe: Recipe, cache: Path, tmp_path: Path
) -> None:
    def stop(report: StepReport) -> None:
        if report.step == 3:
            raise Stop

    with pytest.raises(Stop):
        train(run_recipe, tmp_path / "run", cache=cache, on_step=stop)
    train(run_recipe, tmp_path / "run", cache=cache, resume=True)
    assert losses_of(tmp_path / "run") == losses_of(run)


def test_what_it_adds_lowers_the_loss(
    detail_recipe: MakeDetailRecipe, cache: Path, tmp_path: Path
) -> None:
    recipe = detail_recipe(steps=15, learning_rate=1e-2, tower_rate=0.1)
    train(recipe, tmp_path / "run", cache=cache)
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])


def test_a_trained_detail_is_gone_on_with(
    run: Path, detail_recipe: MakeDetailRecipe, tmp_path: Path
) -> None:
    plan = plan_mini(detail_recipe(start=run / "model"), tmp_path)
    plan.stages[0].begin()
    expected = load_checkpoint(run / "model").state_dict()
    for name, value in plan.network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_microbatch_is_one_part_of_one_picture_on_all_grids(
    detail_recipe: MakeDetailRecipe, cache: Path
) -> None:
    steps = list(stage_of(detail_recipe(), cache).batches(0, Share()))
    assert [one.place for step in steps for one in step] == [0, 1] * 4
    for part in (one.batch for step in steps for one in step):
        num_names = len(part.text)
        assert 2 <= num_names <= 3
        assert part.image.shape == (3, 64, 64)
        assert part.target.shape == (32, 32)
        assert part.logits.shape == (num_names, 32, 32)
        assert part.vit.shape == (32, 4, 4)
        assert part.joint.shape == (JOINT_DIM, 4, 4)
        assert part.target.max() < num_names
        assert part.share == 0.5


def test_a_part_holds_what_is_known_of_the_place_that_it_shows(
    detail_recipe: MakeDetailRecipe, cache: Path
) -> None:
    stage = stage_of(detail_recipe(disturbed=0.0, steps=8), cache)
    examples = [one for batch in stage._feed.batches([[*range(16)]]) for one in batch]
    mirrored = set()
    for example, part in zip(examples, parts_of(stage), strict=True):
        source = stage._data.sources.sources[example.place.source]
        answer, seen = stage.coarse.of(source, example.place.row), example.view.part
        mirrored.add(seen.is_mirrored)
        assert torch.equal(part.image[None], example.view.image)
        assert torch.equal(part.logits, seen.of(answer.logits, 32))
        assert torch.equal(part.vit, seen.of(answer.vit, 4))
        assert torch.equal(part.joint, seen.of(answer.joint, 4))
        for place, name in enumerate(answer.names):
            assert torch.equal(part.target == place, example.view.target == name)
    assert mirrored == {True, False}


def test_logits_are_disturbed_as_often_as_the_recipe_says(made_harder: MadeHarder) -> None:
    parts = {share: made_harder(disturbed=share) for share in (0.0, 0.5, 1.0)}
    same = {
        share: [
            torch.equal(one.logits, own.logits) for one, own in zip(some, parts[0.0], strict=True)
        ]
        for share, some in parts.items()
    }
    assert not any(same[1.0])
    assert 4 < sum(same[0.5]) < 16
    for one, own in zip(parts[1.0], parts[0.0], strict=True):
        assert torch.equal(one.image, own.image)
        assert torch.equal(one.vit, own.vit)


def test_parts_are_pasted_into_as_often_as_the_recipe_says(made_harder: MadeHarder) -> None:
    parts = {share: made_harder(pasted=share) for share in (0.0, 0.5, 1.0)}
    num_changed = {
        share: sum(
            not torch.equal(one.image, own.image) for one, own in zip(some, parts[0.0], strict=True)
        )
        for share, some in parts.items()
    }
    assert num_changed[0.0] == 0
    assert 0 < num_changed[0.5] < num_changed[1.0]
    assert num_changed[1.0] > len(parts[0.0]) / 2  # some pictures show nothing to paste
    for part in parts[1.0]:
        assert part.target.max() < len(part.names) == len(part.text) == len(part.logits)


def test_only_parts_of_the_sources_named_are_made_harder(made_harder: MadeHarder) -> None:
    as_they_are, all_harder = made_harder(), made_harder(disturbed=1.0)
    is_street = [4 in part.names for part in as_they_are]  # the tram, which voc does not label
    assert 0 < sum(is_street) < len(is_street)
    for harder, expected in (((), [False] * len(is_street)), (("street",), is_street)):
        changed = [
            not torch.equal(one.logits, own.logits)
            for one, own in zip(made_harder(disturbed=1.0, harder=harder), as_they_are, strict=True)
        ]
        assert changed == expected
    assert not any(
        torch.equal(one.logits, own.logits)
        for one, own in zip(all_harder, as_they_are, strict=True)
    )


def test_a_source_that_is_not_there_cannot_be_made_harder(
    detail_recipe: MakeDetailRecipe, cache: Path
) -> None:
    with pytest.raises(ConfigError, match=r"harder: no source 'road': choose from street, voc"):
        plan_mini(detail_recipe(harder=("road",)), cache)


def test_names_withheld_are_asked_nowhere(detail_recipe: MakeDetailRecipe, cache: Path) -> None:
    recipe = detail_recipe(data={"withheld": ("sky",)}, steps=6)
    parts = parts_of(stage_of(recipe, cache))
    assert parts
    for part in parts:
        assert 0 not in part.names
        assert (part.target == UNKNOWN).any()


def detail_logits(network: Mini) -> DetailLogits:
    assert network.detail is not None
    return network.detail


def test_the_checkpoints_detail_is_centred_on_the_class_names_and_weaker_for_rare_ones(
    start: Path, detail_recipe: MakeDetailRecipe, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    sources = read_sources([SourceSection(data="folder", root=data_folder)])
    shown = [source.presence for source in sources.sources]
    num_pictures = sum(np.pad(one, ((0, 0), (0, 5 - one.shape[1]))).sum(axis=0) for one in shown)
    tokenize = load_part_tokenizer(start)
    pixel = torch.randn(1, 32, 4, 4)
    gains = []
    for most_kept, enough in ((1.0, 0), (0.5, int(num_pictures.max()))):
        recipe = detail_recipe(most_kept=most_kept, enough_pictures=enough, learning_rate=1e-2)
        network = load_checkpoint(train(recipe, tmp_path / str(most_kept), cache=cache))
        with torch.no_grad():
            vectors = sentence_vectors(network, tokenize, sources.names)
            text = network.text.to_joint(vectors)
            gains.append(detail_logits(network)(pixel, text[None])[0])
    centred, weak = gains
    assert centred.abs().max() > 1e-2
    assert centred.mean(dim=0).abs().max() < 1e-4
    share = 0.5 * torch.from_numpy(num_pictures / num_pictures.max()).float()
    assert share.unique().numel() > 2
    torch.testing.assert_close(
        weak, share[:, None, None] * centred, atol=0.05 * float(centred.abs().max()), rtol=0
    )


def test_two_processes_share_a_batch_out(detail_recipe: MakeDetailRecipe, cache: Path) -> None:
    stage = stage_of(detail_recipe(), cache)
    (alone, *_), (first, *_), (second, *_) = (
        list(stage.batches(3, share)) for share in (Share(), Share(0, 2), Share(1, 2))
    )
    assert len(alone) == 2
    for one, other in zip(alone, [*first, *second], strict=True):
        assert one.place == other.place
        assert torch.equal(one.batch.image, other.batch.image)
        assert torch.equal(one.batch.logits, other.batch.logits)


@torch.no_grad()
def test_the_loss_by_hand(detail_recipe: MakeDetailRecipe, cache: Path) -> None:
    """Until it is trained it adds nothing: the network's own loss is left."""
    recipe = detail_recipe(binary_weight=0.5, overlap_weight=2.0, dropout=0.0)
    stage = stage_of(recipe, cache)
    loss, part = stage.begin(), parts_of(stage)[0]
    shifted = part.logits + part.shift[:, None, None]
    target = part.target[None]
    expected = 0.5 * len(part.names) * binary_loss(part.logits[None], target)
    expected = (
        expected + cross_loss(shifted[None], target) + 2 * overlap_loss(shifted[None], target)
    )
    expected = expected[0]
    torch.testing.assert_close(loss(part), expected / 2)
    assert part.shift.abs().max() > 0.1
    loss.branch.pixel.bias[0] = 3.0
    loss.logits.query.weight[0] = 1.0
    assert not torch.isclose(loss(part), expected / 2)


def test_a_name_is_blurred_but_keeps_its_direction(
    detail_recipe: MakeDetailRecipe, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_of(detail_recipe(), cache)
    loss, part = stage.begin(), parts_of(stage)[0]
    seen: list[Tensor] = []
    logits = loss.logits
    forward = logits.forward

    def spy(pixel: Tensor, text: Tensor) -> Tensor:
        seen.append(text)
        return forward(pixel, text)

    monkeypatch.setattr(logits, "forward", spy)
    for _ in range(2):
        loss(part)
    assert not torch.equal(*seen)
    cosine = F.cosine_similarity(torch.cat(seen).flatten(0, -2), part.text.repeat(2, 1))
    assert cosine.min() > 0.8


def test_a_network_without_detail_is_refused(
    start: Path, make_recipe: MakeRecipe, cache: Path
) -> None:
    with pytest.raises(ConfigError, match=r"set model\.settings\.detail = true"):
        plan_mini(make_recipe(PARTS, parts={"start_from": start}), cache)
