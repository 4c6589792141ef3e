"""Networks that are trained on pictures, towers included: ESC-Net and CAT-Seg."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from escnet import Segmenter
from escnet.catseg.config import CATSEG_PRESETS
from escnet.catseg.network import CatSeg
from escnet.catseg.training import build_catseg
from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError, OutputError, WeightsError
from escnet.structures import builder_of
from escnet.training.pictures_recipe import TowersSection
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from escnet.training.run import train
from escnet.training.stage import Plan
from escnet.weights.checkpoint import load_network
from escnet.weights.tensor_file import read_tensors
from tests.training_data import WHOLE

MakeRecipe = Callable[..., Recipe]

ROOT = Path(__file__).parents[2] / "recipes" / "shapes"
SHAPES = [{"data": "folder", "root": ROOT}]

TEXT = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 1, "projection_dim": 16, "vocab_size": 76,
        "max_position_embeddings": 77, "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip


def plan_of(recipe: Recipe, cache: Path) -> Plan:
    return builder_of(recipe.model.preset).plan(recipe, cache)


@pytest.fixture
def make_catseg_recipe(make_pictures_recipe: MakeRecipe) -> MakeRecipe:
    def make(*, pictures: dict[str, Any] | None = None, **training: Any) -> Recipe:
        return make_pictures_recipe(
            preset="cat-seg-tiny",
            model={"text_config": TEXT},
            pictures=pictures,
            **{"evidence_weight": 0.0, **training},
        )

    return make


def test_catseg_is_trained_to_a_checkpoint_that_segments(
    make_catseg_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_catseg_recipe(
        pictures={"sources": SHAPES, "validate_on": ROOT}, steps=16, learning_rate=2e-3
    )
    before = plan_of(recipe, tmp_path).network.state_dict()
    model = train(recipe, tmp_path / "run", cache=tmp_path / "cache")
    network = load_network(model, CatSeg)
    assert network.config.trained_on == ("grass", "sky", "ball", "box")
    moved = {
        name.partition(".")[0]
        for name, value in network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert {"vision", "text", "embed", "layers", "decoder", "to_guidance"} <= moved
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines]
    assert len(losses) == 16
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert set(scores) == {"shapes"}
    picture = ROOT / "images" / "shapes__0.png"
    assert Segmenter.load(model).segment(picture, ["sky", "grass"]).label_map.shape == (48, 64)


def test_catsegs_loss_is_binary_cross_entropy_of_its_own_logits(
    make_catseg_recipe: MakeRecipe, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    plan = plan_of(make_catseg_recipe(pictures={"sources": SHAPES}), tmp_path)
    network, (stage,) = plan.network, plan.stages
    ((_, batch),) = ((one.place, one.batch) for one in next(stage.batches(0, Share())))
    loss = stage.begin()
    stage.set_mode()
    with torch.no_grad():
        found = loss(batch)
        text = loss.names(batch.row)
        logits = torch.nn.functional.interpolate(
            network(batch.image, text), size=batch.target.shape[1:], mode="bilinear"
        )
    truth = torch.zeros_like(logits)
    for name in range(len(batch.row)):
        truth[:, name] = batch.target == name  # nothing where nobody labelled
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_catsegs_towers_are_those_of_a_clip(tmp_path: Path) -> None:
    config = CATSEG_PRESETS["tiny"]()
    torch.manual_seed(1)
    clip = CLIPModel(
        CLIPConfig(
            text_config=config.text_config,
            vision_config=config.vision_config,
            projection_dim=config.joint_dim,
        )
    )
    clip.save_pretrained(tmp_path / "clip")
    network = build_catseg(config, TowersSection(model=str(tmp_path / "clip")))
    given = read_tensors(tmp_path / "clip" / "model.safetensors")
    own = network.state_dict()
    for name in (
        "vision_model.encoder.layers.1.self_attn.q_proj.weight",
        "visual_projection.weight",
    ):
        assert torch.equal(own[f"vision.tower.{name}"], given[name])
    assert torch.equal(own["text.tower.text_projection.weight"], given["text_projection.weight"])
    assert [origin["part"] for origin in network.config.origins] == ["CLIP"]


def test_a_clip_of_another_size_is_refused(tmp_path: Path) -> None:
    config = CATSEG_PRESETS["tiny"]()
    small = {**config.text_config, "hidden_size": 32}
    CLIPModel(
        CLIPConfig(text_config=small, vision_config=config.vision_config, projection_dim=16)
    ).save_pretrained(tmp_path / "clip")
    with pytest.raises(WeightsError, match=r"text_model"):
        build_catseg(config, TowersSection(model=str(tmp_path / "clip")))


@pytest.mark.parametrize(
    ("pictures", "training", "message"),
    [
        ({}, {"evidence_weight": 0.3}, r"training\.evidence_weight is 0\.3, but CAT-Seg"),
        ({}, {"gradient_checkpointing": True}, r"training\.gradient_checkpointing is true"),
        ({"names_per_picture": 9}, {}, r"max_classes 8 would drop some of the 9 names"),
    ],
)
def test_what_catseg_has_not_is_refused_by_its_key(
    make_catseg_recipe: MakeRecipe,
    pictures: dict[str, Any],
    training: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        plan_of(make_catseg_recipe(pictures=pictures, **training), Path())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "vit-z"}, r"preset 'vit-z' is unknown: choose from cat-seg-tiny, .*vit"),
        (
            {"model": {"num_block": 2}},
            r"no setting model\.settings\.num_block: choose from .*blocks",
        ),
        ({"model": {"num_blocks": "two"}}, r"model\.settings\.num_blocks is 'two': .*integer"),
        ({"model": {"sam": "pretrained"}}, r"towers\.sam is missing: name a SAM"),
        ({"towers": {"tokenizer": ""}}, r"towers\.tokenizer is missing"),
        ({"towers": {"model": "/nowhere"}}, r"'/nowhere'"),
    ],
)
def test_a_wrong_network_is_one_line_that_names_the_key(
    make_pictures_recipe: MakeRecipe, changes: dict[str, Any], message: str
) -> None:
    recipe = make_pictures_recipe(**changes)
    with pytest.raises((ConfigError, WeightsError), match=message) as error:
        plan_of(recipe, Path())
    assert "\n" not in str(error.value)


def test_a_state_of_another_network_is_refused_with_what_differs(
    make_pictures_recipe: MakeRecipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    train(make_pictures_recipe(), folder, cache=tmp_path / "cache")
    newest = max((folder / "states").glob("step-*.pt"))
    before = newest.read_bytes()
    other = make_pictures_recipe(model={"num_blocks": 1})
    with pytest.raises(ConfigError, match=r"network\.num_blocks: 2 there, 1 here"):
        train(other, folder, cache=tmp_path / "cache", resume=True)
    other = make_pictures_recipe(pictures={"loss": "ce"})
    with pytest.raises(ConfigError, match=r'pictures\.loss: "bce" there, "ce" here'):
        train(other, folder, cache=tmp_path / "cache", resume=True)
    assert newest.read_bytes() == before


@pytest.mark.parametrize("kind", ["pictures", "mini"])
def test_other_class_names_or_texts_are_refused(
    make_pictures_recipe: MakeRecipe,
    make_recipe: MakeRecipe,
    data_folder: Path,
    captions_folder: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    data = Path(shutil.copytree(data_folder, tmp_path / "data"))
    texts = Path(shutil.copytree(captions_folder, tmp_path / "captions"))
    if kind == "pictures":
        sources = [{"data": "folder", "root": data}]
        recipe = make_pictures_recipe(pictures={"sources": sources}, steps=1)
    else:
        captions = {"root": texts, "names_of": "voc"}
        recipe = make_recipe(WHOLE | {"steps": 1}, data={"train": data, "captions": captions})
    folder = tmp_path / "run"
    train(recipe, folder, cache=tmp_path / "cache")
    classes, said = (data / "classes.json").read_text(), (texts / "texts.json").read_text()
    changes = [
        (
            data / "classes.json",
            classes.replace('"cat"', '"lion"'),
            r"class names\.1: .cat. there, ",
        ),
        (data / "classes.json", classes.replace("[0, 4]", "[0, 2]"), r"annotated\.\S+: "),
    ]
    if kind == "mini":
        told = said.replace('"p1": [', '"p1": ["the sky", ')
        changes.append((texts / "texts.json", told, r"[(]texts: "))
    for path, content, message in changes:
        before = path.read_text()
        assert content != before
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            train(recipe, folder, cache=tmp_path / "cache", resume=True)
        path.write_text(before)
    train(recipe, folder, cache=tmp_path / "cache", resume=True)


def logged(folder: Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def test_a_run_that_ended_before_its_first_state_is_logged_from_the_start(
    make_pictures_recipe: MakeRecipe, tmp_path: Path
) -> None:
    folder, recipe = tmp_path / "run", make_pictures_recipe()
    train(recipe, folder, cache=tmp_path / "cache")
    expected = logged(folder)
    shutil.rmtree(folder / "states")
    (folder / "log.jsonl").write_text('{"step": 1, "loss": 7.0, "rate": 1.0}\n{"step": 2, "lo')
    train(recipe, folder, cache=tmp_path / "cache", resume=True)
    assert logged(folder) == expected


def test_a_run_that_ended_before_its_state_was_scored_is_scored_when_it_goes_on(
    make_pictures_recipe: MakeRecipe, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    recipe = make_pictures_recipe(
        pictures={"validate_on": data_folder}, records={"validate_every": 2, "sheet_pictures": 0}
    )
    train(recipe, folder, cache=tmp_path / "cache")
    whole = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in whole if "scores" in line] == [2, 4]
    states = sorted((folder / "states").glob("step-*.pt"))  # of the end, and of an earlier step
    state = torch.load(states[0], weights_only=True)
    state["step"] = 2
    for path in states:
        path.unlink()
    torch.save(state, folder / "states" / "step-00000002.pt")
    (folder / "log.jsonl").write_text("\n".join(whole[:2]) + "\n")  # two steps, no score
    train(recipe, folder, cache=tmp_path / "cache", resume=True)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], "scores" in line) for line in lines] == [
        (1, False), (2, False), (2, True), (3, False), (4, False), (4, True),
    ]  # fmt: skip


def test_a_run_that_ended_before_its_best_state_was_marked_marks_it_when_it_goes_on(
    make_pictures_recipe: MakeRecipe, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    recipe = make_pictures_recipe(
        pictures={"validate_on": data_folder},
        records={"validate_every": 2, "sheet_pictures": 0},
        steps=2,
    )
    record = folder / "states" / "best.json"
    with pytest.raises(OutputError, match="best"):
        train(
            recipe,
            folder,
            cache=tmp_path / "cache",
            on_step=lambda _: record.mkdir(parents=True, exist_ok=True),  # in the way
        )
    record.rmdir()
    train(recipe, folder, cache=tmp_path / "cache", resume=True)
    assert json.loads(record.read_text())["step"] == 2
    assert torch.load(folder / "states" / "best.pt", weights_only=True)["step"] == 2
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "scores" in line] == [2]


def test_a_new_run_in_a_folder_forgets_the_best_state_of_an_earlier_one(
    make_pictures_recipe: MakeRecipe, tmp_path: Path
) -> None:
    states = tmp_path / "run" / "states"
    states.mkdir(parents=True)
    (states / "best.json").write_text('{"step": 2, "miou": 0.9}')
    (states / "best.pt").write_bytes(b"of an earlier run")
    train(make_pictures_recipe(steps=1), tmp_path / "run", cache=tmp_path / "cache")
    assert sorted(path.name for path in states.iterdir()) == ["step-00000001.pt"]


def test_each_folder_is_told_once(
    make_pictures_recipe: MakeRecipe, data_folder: Path, tmp_path: Path
) -> None:
    told: list[FolderDataset] = []
    recipe = make_pictures_recipe(
        pictures={"validate_on": data_folder}, records={"sheet_pictures": 0}, steps=1
    )
    train(recipe, tmp_path / "run", cache=tmp_path / "cache", on_folder=told.append)
    assert [one.root for one in told] == [data_folder]
