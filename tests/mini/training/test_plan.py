import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.errors import ConfigError, DatasetError, EscnetError, OutputError, WeightsError
from escnet.files import is_ours
from escnet.inference.segmenter import Segmenter
from escnet.mini.training.parts import build_network, imagenet_names, load_part_tokenizer
from escnet.mini.training.plan import plan_mini
from escnet.mini.training.recipe import MiniRecipe
from escnet.mini.training.texts import sentence_vectors
from escnet.training.pace import StepReport
from escnet.training.run import train
from escnet.weights.checkpoint import load_checkpoint
from escnet.weights.tensor_file import read_tensors
from tests.training_data import ALIGNMENT, DETAIL, EVERYTHING, PRESENCE, RANDOM_SAM, WHOLE

MakeRecipe = Callable[..., MiniRecipe]
CLASSES = ("sky", "cat", "dog", "diningtable", "tram", "chair")


class Stop(Exception):  # noqa: N818 -- what a test raises to end a run in the middle
    """The machine was turned off."""


def log_of(folder: Path) -> list[dict[str, Any]]:
    """What a run logged, but for the times that the steps took."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in {"seconds", "waiting"}}
        for line in lines
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feature maps, which all runs here share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    make_recipe: MakeRecipe,
    cache: Path,
    data_folder: Path,
) -> Path:
    """The folder of a run from beginning to end."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    recipe = make_recipe(data={"withheld": ("dog",), "validate_on": data_folder})
    train(recipe, folder, cache=cache)
    return folder


def test_a_run_logs_a_finite_loss_for_every_step_of_all_stages(run: Path) -> None:
    log = log_of(run)
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert np.isfinite([line["loss"] for line in log]).all()


def test_a_run_leaves_its_recipe_and_its_scores(run: Path) -> None:
    recipe = json.loads((run / "recipe.json").read_text())
    assert [stage["steps"] for stage in recipe["stages"]] == [4, 4]
    assert recipe["stages"][0]["learning_rate"] == 1e-3  # a default
    scores = json.loads((run / "scores.json").read_text())
    assert scores.keys() == {"voc", "street"}
    for score in scores.values():
        assert score.keys() == {"miou_in_truth", "miou_in_either", "pixel_accuracy"}
        assert all(0 <= value <= 1 for value in score.values())


@pytest.mark.filterwarnings("ignore::escnet.errors.NamesWarning")  # it knows few letters
def test_the_checkpoint_segments_a_picture_by_any_name(run: Path, data_folder: Path) -> None:
    segmenter = Segmenter.load(run / "model", device="cpu")
    picture = data_folder / "images" / "voc__0.png"
    result = segmenter.segment(picture, ["sky", "cat", "a thing with wheels", "犬"])
    assert result.label_map.shape == (24, 32)


def test_the_checkpoint_says_what_it_has_seen_and_where_its_parts_came_from(run: Path) -> None:
    config = load_checkpoint(run / "model").config
    assert config.trained_on == ("sky", "cat", "diningtable", "tram")
    assert [origin["part"] for origin in config.origins] == [
        "ViT-S/14",
        "EfficientNet-Lite2",
        "sentence encoder",
    ]


def test_the_known_words_of_all_lists_lie_beside_the_checkpoint(run: Path) -> None:
    words = (run / "model" / "words.txt").read_text("utf-8").split()
    assert words == sorted(words)
    assert {"dining", "table", "apple", "wild", "tram", "label"} <= set(words)


def test_training_moves_what_it_should_and_nothing_else(run: Path, make_recipe: MakeRecipe) -> None:
    torch.manual_seed(0)
    before = build_network(make_recipe())
    after = load_checkpoint(run / "model").state_dict()
    moved = {n for n, value in before.state_dict().items() if not torch.equal(value, after[n])}
    assert not {n for n in moved if n.startswith(("vision.vit.", "vision.net.", "text.tower."))}
    assert not {n for n in moved if n.startswith("prompt_encoder.")}
    for part in ("vision.head.mix.", "vision.head.norms.", "text.to_joint.", "decoder.", "blocks."):
        assert any(name.startswith(part) for name in moved), part
    assert {"logit_scale", "logit_shift"} <= moved


@pytest.mark.parametrize(
    "name", ["recipe.json", "log.jsonl", "scores.json", "curves.png", "model/config.json"]
)
def test_a_run_replaces_nobody_s_own_files(
    make_recipe: MakeRecipe, cache: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name} is no result of escnet"):
        train(make_recipe(), tmp_path, cache=cache)
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "states").exists()


def test_a_sheet_is_known_as_ours_and_another_picture_stays(run: Path) -> None:
    sheets = list((run / "sheets").iterdir())
    assert sheets
    assert all(is_ours(sheet) for sheet in (*sheets, run / "curves.png"))


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_happened(
    run: Path, make_recipe: MakeRecipe, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(data={"withheld": ("dog",), "validate_on": data_folder})

    def stop(report: StepReport) -> None:
        if report.step == 5:  # it was last saved after step 3
            raise Stop

    with pytest.raises(Stop):
        train(recipe, tmp_path / "run", cache=cache, on_step=stop)
    assert len(log_of(tmp_path / "run")) == 5
    torch.manual_seed(99)  # chance elsewhere in the meantime
    train(recipe, tmp_path / "run", cache=cache, resume=True)
    assert log_of(tmp_path / "run") == log_of(run)
    found = read_tensors(tmp_path / "run" / "model" / "model.safetensors")
    for name, value in read_tensors(run / "model" / "model.safetensors").items():
        assert torch.equal(found[name], value), name


def test_a_finished_run_is_not_trained_further(
    run: Path, make_recipe: MakeRecipe, data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "model" / "model.safetensors").unlink()
    recipe = make_recipe(data={"withheld": ("dog",), "validate_on": data_folder})
    train(recipe, folder, cache=cache, resume=True)
    assert log_of(folder) == log_of(run)
    assert (folder / "model" / "model.safetensors").is_file()


def test_another_seed_gives_another_run(
    run: Path, make_recipe: MakeRecipe, cache: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(ALIGNMENT | {"steps": 1}, data={"withheld": ("dog",)}, seed=1)
    train(recipe, tmp_path, cache=cache)
    assert log_of(tmp_path)[0]["loss"] != log_of(run)[0]["loss"]


def test_the_state_of_another_recipe_is_refused_with_what_differs(
    run: Path, make_recipe: MakeRecipe, cache: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    other = make_recipe(ALIGNMENT, WHOLE | {"steps": 5}, data={"withheld": ("dog",)})
    with pytest.raises(
        ConfigError,
        match=r"was another one \(data\.validate_on: .*; stages\.1\.steps: 4 there, 5 here\)",
    ):
        train(other, folder, cache=cache, resume=True)
    assert log_of(folder) == log_of(run)


def test_a_folder_with_a_run_is_not_written_over(
    run: Path, make_recipe: MakeRecipe, cache: Path
) -> None:
    with pytest.raises(ConfigError, match="holds a run already: pass --resume, or another folder"):
        train(make_recipe(), run, cache=cache)


def test_a_run_starts_from_another_runs_alignment(run: Path, make_recipe: MakeRecipe) -> None:
    torch.manual_seed(0)
    plain = build_network(make_recipe()).state_dict()
    torch.manual_seed(0)
    parts = {"start_from": run / "model", "vit": make_recipe().parts.vit}
    started = build_network(make_recipe(parts=parts))
    trained = load_checkpoint(run / "model").state_dict()
    for name, value in started.state_dict().items():
        is_taken = name.startswith(("vision.head.", "text.to_joint.", "logit_"))
        assert torch.equal(value, trained[name] if is_taken else plain[name]), name


def test_a_run_starts_from_everything_of_another(run: Path, make_recipe: MakeRecipe) -> None:
    started = build_network(make_recipe(parts={"start_from": run / "model"}))
    for name, value in load_checkpoint(run / "model").state_dict().items():
        assert torch.equal(started.state_dict()[name], value), name


def test_a_run_adds_a_part_to_everything_of_another(
    run: Path, make_recipe: MakeRecipe, cache: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(
        WHOLE | {"steps": 2},
        parts={"start_from": run / "model"},
        model={"upsampling": "guided"},
    )
    trained = load_checkpoint(train(recipe, tmp_path, cache=cache))
    before, after = load_checkpoint(run / "model").state_dict(), trained.state_dict()
    assert before.keys() < after.keys()
    added = [name for name in after if name not in before]
    assert all(name.startswith("upsampling.") for name in added)
    assert trained.upsampling is not None
    assert trained.upsampling.head.weight.abs().sum() > 0  # 0 before the first step
    for name in ("vision.vit.layernorm.weight", "text.to_joint.weight"):
        torch.testing.assert_close(after[name], before[name], atol=1e-2, rtol=0)


def test_a_setting_that_another_runs_weights_do_not_fit_is_refused(
    run: Path, make_recipe: MakeRecipe
) -> None:
    for settings, kind, said in (
        ({"hidden_dim": 16}, WeightsError, "give the file that belongs to these settings"),
        ({"hiden_dim": 16}, ConfigError, "no setting model.settings.hiden_dim"),
    ):
        with pytest.raises(kind, match=said):
            build_network(make_recipe(parts={"start_from": run / "model"}, model=settings))


def test_sams_weights_and_half_precision_train_as_well(
    make_recipe: MakeRecipe, cache: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(
        ALIGNMENT | {"steps": 1},
        WHOLE | {"steps": 1, "sam_rate": 0.0},
        model={"sam": "pretrained", "sam_mlp_dim": 2048},
        dtype="bfloat16",
    )
    model = load_checkpoint(train(recipe, tmp_path, cache=cache))
    assert np.isfinite([line["loss"] for line in log_of(tmp_path)]).all()
    assert model.config.origins[-1]["part"] == "SAM"
    tokens = read_tensors(recipe.parts.sam)["mask_decoder.mask_tokens.weight"]
    assert torch.equal(model.blocks[0].sam.output_tokens[1:], tokens)  # a rate of 0 keeps them


def test_the_texts_are_mapped_to_the_published_vectors(make_recipe: MakeRecipe) -> None:
    network = build_network(make_recipe())
    assert network.text.to_joint.weight.abs().max() > 0
    embedding = network.vision.head.label_embedding
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(1000))


def test_a_loss_that_is_not_finite_ends_the_run_in_one_line(
    make_recipe: MakeRecipe, cache: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(ALIGNMENT | {"learning_rate": 1e30, "warmup_share": 0.0})
    with pytest.raises(ConfigError, match=r"the loss is \S+ at step \d: lower the stage"):
        train(recipe, tmp_path, cache=cache)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_block": 1}, r"no setting model\.settings\.num_block: choose from"),
        (
            {"num_blocks": "two"},
            r"model\.settings\.num_blocks is 'two': input should be a valid in",
        ),
        ({"num_blocks": True}, r"model\.settings\.num_blocks is True: .*valid integer"),
        ({"correlation_residual": "no"}, r"correlation_residual is 'no': .*valid boolean"),
        ({"num_blocks": 0}, "num_blocks 0 is"),
        ({"num_blocks": 1000}, "the recipe's model has num_blocks 1000, which is not in 0..64"),
        (
            {"text_config": {"hidden_size": "x"}},
            r"the recipe's model has text_config\.hidden_size 'x', which is no whole number",
        ),
        (
            {"text_config": {"hidden_size": 384, "num_attention_heads": 5}},
            r"text_config\.num_attention_heads 5, which does not divide text_config\.hidden_s",
        ),
        (
            {"text_config": {"num_attention_heads": 5}},
            r"the recipe's model does not describe a network .*heads.*: correct it in model\.set",
        ),
        (
            {"towers": "clip"},
            r"no setting model\.settings\.towers: choose from appearance",
        ),
    ],
)
def test_a_wrong_setting_of_the_network_is_named(
    make_recipe: MakeRecipe, settings: dict[str, Any], message: str
) -> None:
    recipe = make_recipe(model={"sam": "random", **settings})
    with pytest.raises(ConfigError, match=message):
        build_network(recipe)


@pytest.mark.parametrize("part", ["vit", "efficientnet", "sentence", "clip_text", "label_names"])
def test_a_part_that_is_not_there_is_an_error_of_ours(make_recipe: MakeRecipe, part: str) -> None:
    with pytest.raises(EscnetError, match="not/there") as error:
        build_network(make_recipe(parts={part: Path("not/there")}))
    assert isinstance(error.value, WeightsError | DatasetError)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"in1k__a": ["x"]}', "names 1 ImageNet labels, not 1000"),
        ("{", "is not JSON"),
        ("[1]", "holds a JSON list"),
        ('{"in1k__a": []}', "has a picture without a text"),
    ],
)
def test_label_names_that_are_not_imagenets_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "texts.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        imagenet_names(tmp_path / "texts.json")


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_computed(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        train(make_recipe(), tmp_path / "file" / "run", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_image_nets_with_a_rate_learn_in_views_of_the_pictures(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    views = {"views": {"whole": 0.5}, "tower_rate": 0.5, "vit_blocks": 1}
    recipe = make_recipe(WHOLE | views | {"rarity": 0.5, "correlation_weight": 1.0, "steps": 2})
    torch.manual_seed(0)
    before = build_network(recipe)
    train(recipe, tmp_path / "run", cache=tmp_path / "cache")
    after = load_checkpoint(tmp_path / "run" / "model").state_dict()
    moved = {n for n, value in before.state_dict().items() if not torch.equal(value, after[n])}
    assert "vision.net._conv_stem.weight" in moved
    assert any(name.startswith("vision.vit.encoder.layer.1.") for name in moved)
    assert not {n for n in moved if n.startswith("vision.vit.encoder.layer.0.")}
    assert not {n for n in moved if n.startswith(("vision.net._fc.", "text.tower."))}
    assert not {n for n in moved if "running_" in n and n.startswith("vision.net.")}
    assert not (tmp_path / "cache" / "features").exists()  # nothing is run once


def test_the_correlation_has_a_loss_over_all_names_of_the_source(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    losses = {}
    for weight in (0.0, 1.0):
        recipe = make_recipe(WHOLE | {"steps": 1, "correlation_weight": weight, "views": {}})
        train(recipe, tmp_path / str(weight), cache=tmp_path / "cache")
        losses[weight] = log_of(tmp_path / str(weight))[0]["loss"]
    assert losses[1.0] > losses[0.0] + 0.1


def test_blocks_that_are_computed_twice_learn_the_same(
    make_recipe: MakeRecipe, cache: Path, tmp_path: Path
) -> None:
    for twice in (False, True):
        recipe = make_recipe(WHOLE | {"steps": 3}, gradient_checkpointing=twice)
        train(recipe, tmp_path / str(twice), cache=cache)
    once, again = ([one["loss"] for one in log_of(tmp_path / name)] for name in ("False", "True"))
    assert again == pytest.approx(once, rel=1e-5)


def test_sentence_vectors_have_no_dropout_also_in_a_network_in_training(
    run: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(parts={"start_from": run / "model"}, model={"share_prior": 0.5})
    tokenize = load_part_tokenizer(run / "model")
    expected = sentence_vectors(load_checkpoint(run / "model").eval(), tokenize, CLASSES)
    for network in (build_network(recipe), build_network(recipe).train()):
        torch.testing.assert_close(sentence_vectors(network, tokenize, CLASSES), expected)


def test_all_stages_leave_what_each_of_them_trained(
    make_recipe: MakeRecipe, captions_folder: Path, tmp_path: Path
) -> None:
    captions = {"root": captions_folder, "names_of": "voc"}
    stages = [stage | {"steps": 2} for stage in (ALIGNMENT, WHOLE, PRESENCE, DETAIL)]
    recipe = make_recipe(
        *stages,
        data={"captions": captions},
        model=RANDOM_SAM | EVERYTHING,
    )
    torch.manual_seed(0)
    before = plan_mini(recipe, tmp_path / "cache").network.state_dict()
    model = train(recipe, tmp_path / "run", cache=tmp_path / "cache")
    after = load_checkpoint(model).state_dict()
    moved = [name for name, value in after.items() if not torch.equal(value, before[name])]
    for part in ("vision.head.", "text.to_joint.", "decoder.", "upsampling.", "presence.to_joint.",
                 "presence.norm.", "vision.detail.", "detail."):  # fmt: skip
        assert any(name.startswith(part) for name in moved), part
    assert [line["stage"] for line in log_of(tmp_path / "run")] == [
        *["alignment"] * 2, *["network"] * 2, *["presence"] * 2, *["detail"] * 2,
    ]  # fmt: skip
    picture = tmp_path / "picture.png"
    Image.new("RGB", (30, 20), "blue").save(picture)
    assert Segmenter.load(model, device="cpu").segment(picture, "cat, sky").label_map.shape


def test_a_stage_that_keeps_all_but_nothing_of_its_start_moves_far_less(
    make_recipe: MakeRecipe, cache: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    start = build_network(make_recipe()).decoder.head.weight
    moved = {}
    for kept in (0.0, 0.75):
        recipe = make_recipe(WHOLE | {"kept": kept, "average": 0.0})
        model = train(recipe, tmp_path / str(kept), cache=cache)
        moved[kept] = load_checkpoint(model).decoder.head.weight - start
    torch.testing.assert_close(moved[0.75], 0.25 * moved[0.0], rtol=1e-3, atol=1e-6)


def test_several_folders_have_one_vocabulary(
    make_recipe: MakeRecipe, data_folder: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(data_folder, tmp_path / "other"))
    table = json.loads((other / "classes.json").read_text())
    table["classes"][3] = "goat"
    (other / "classes.json").write_text(json.dumps(table))
    plan = plan_mini(make_recipe(data={"train": (data_folder, other)}), tmp_path / "cache")
    assert plan.names == ("sky", "cat", "dog", "diningtable", "tram", "goat")


def test_what_label_maps_mean_holds_for_training_and_validation(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    for name in ("own", "held-out"):
        for part, values in (("images", [[9, 9]]), ("masks", [[0, 1]])):
            (tmp_path / name / part).mkdir(parents=True)
            pixels = np.array(values, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / part / "a.png")
        (tmp_path / name / "classes.txt").write_text("cat\ndog\n")
    data = {"train": tmp_path / "own", "validate_on": tmp_path / "held-out"}
    recipe = make_recipe(WHOLE, data={**data, "zero_is": "unlabelled"})
    plan = plan_mini(recipe, tmp_path / "cache")
    assert [one.root for one in (*plan.folders, plan.validate_on)] == [*data.values()]
    for dataset in (*plan.folders, plan.validate_on):
        assert dataset.items[0].read_truth().tolist() == [[255, 0]]


def test_each_source_may_have_a_list_of_its_own(
    make_recipe: MakeRecipe, data_folder: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(data_folder, tmp_path / "own"))
    table = {
        "datasets": {
            "voc": {"classes": ["sky", "cat", "dog", "table"], "has_background": True},
            "street": {"classes": ["sky", "a", "b", "c", "tram"]},
        }
    }
    (own / "classes.json").write_text(json.dumps(table))
    recipe = make_recipe(WHOLE | {"steps": 1, "views": {}}, data={"train": own})
    model = train(recipe, tmp_path / "run", cache=tmp_path / "cache")
    assert load_checkpoint(model).config.trained_on[:4] == ("sky", "cat", "dog", "table")
