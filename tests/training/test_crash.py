"""Runs that end before their time, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from escnet.training.recipe import Recipe
from escnet.training.run import train
from escnet.weights.tensor_file import read_tensors
from tests.training_data import ALIGNMENT, DETAIL, EVERYTHING, PRESENCE, RANDOM_SAM, WHOLE

MakeRecipe = Callable[..., Recipe]

HERE = Path(__file__).parent
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
STEPS_A_KILL = 6  # more than a run makes between two kills


def losses_of(folder: Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines]


def child(script: str, *arguments: Path | str, before: tuple[str, ...] = ()) -> str:
    command = [sys.executable, *before, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(
        command, env=ONE_THREAD, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def settings_file(place: Path, recipe: Recipe, **settings: Any) -> Path:
    path = place / "settings.json"
    path.write_text(json.dumps({"recipe": recipe.model_dump(mode="json"), **settings}))
    return path


@pytest.fixture
def make_staged(make_recipe: MakeRecipe, captions_folder: Path) -> MakeRecipe:
    """Runs of some of the built-in model's stages, of so many steps each."""

    def make(steps: int, names: Sequence[str], batch_size: int = 2, **training: Any) -> Recipe:
        kinds = {
            "alignment": ALIGNMENT | {"source_weights": {"street": 2.0}},
            "network": WHOLE
            | {"views": {"whole": 0.5}, "tower_rate": 0.1, "vit_blocks": 1, "kept": 0.3},
            "presence": PRESENCE | {"batch_size": 16},
            "detail": DETAIL | {"pasted": 0.5},
        }
        stages = [kinds[name] | {"steps": steps} for name in names]
        stages = [
            one | ({"batch_size": batch_size} if one["kind"] in {"network", "detail"} else {})
            for one in stages
        ]
        captions = {"root": captions_folder, "names_of": "voc"}
        model = RANDOM_SAM | EVERYTHING
        return make_recipe(*stages, data={"captions": captions}, model=model, **training)

    return make


@pytest.fixture(params=["mini", "pictures"])
def recipe_of(
    request: pytest.FixtureRequest, make_staged: MakeRecipe, make_pictures_recipe: MakeRecipe
) -> MakeRecipe:
    """Runs of both kinds, of so many steps in all."""

    def make(steps: int, **training: Any) -> Recipe:
        if request.param == "pictures":
            return make_pictures_recipe(steps=steps, **training)
        return make_staged(steps // 4, ["alignment", "network", "presence", "detail"], **training)

    return make


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_as_if_nothing_had_happened(
    recipe_of: MakeRecipe, tmp_path: Path, kills: int
) -> None:
    recipe = recipe_of(kills * STEPS_A_KILL, save_every=2)
    folders = {"undisturbed": tmp_path / "undisturbed", "killed": tmp_path / "killed"}
    settings = {name: str(folder) for name, folder in folders.items()}
    path = settings_file(
        tmp_path, recipe, cache=str(tmp_path / "cache"), kills=kills, seed=7, **settings
    )
    ends = json.loads(child("kill_and_resume.py", path).splitlines()[-1])
    assert ends == [0, *[-signal.SIGKILL] * kills, 0]
    assert len(losses_of(folders["killed"])) == kills * STEPS_A_KILL
    assert losses_of(folders["killed"]) == losses_of(folders["undisturbed"])
    found = read_tensors(folders["killed"] / "model" / "model.safetensors")
    for name, value in read_tensors(folders["undisturbed"] / "model" / "model.safetensors").items():
        assert torch.equal(found[name], value), name
    left = sorted(path.name for path in folders["killed"].rglob(".*"))
    assert left == []  # no half-written file stays


# Not one after the other: what the next stage reads of a network, in half precision, tells the last
# bits of its weights.
@pytest.mark.parametrize(
    "names",
    [
        ("alignment", "network"),
        ("presence",),
        pytest.param(("detail",), marks=pytest.mark.slow),
        pytest.param((), marks=pytest.mark.slow),
    ],
)
def test_two_processes_have_the_losses_of_one(
    make_staged: MakeRecipe,
    make_pictures_recipe: MakeRecipe,
    tmp_path: Path,
    names: tuple[str, ...],
) -> None:
    if names:
        recipe = make_staged(4, names, batch_size=4)
    else:
        recipe = make_pictures_recipe(steps=8, batch_size=4)
    path = settings_file(
        tmp_path, recipe, folder=str(tmp_path / "two"), cache=str(tmp_path / "cache")
    )
    train(recipe, tmp_path / "one", cache=tmp_path / "cache")
    child("../processes.py", tmp_path, HERE / "train_here.py", path)
    for rank in (0, 1):
        assert (tmp_path / f"{rank}.txt").read_text().endswith("trained\n")
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert len(two) == (4 * len(names) or 8)
    assert [step for step, _ in two] == [step for step, _ in one]
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in one], rel=1e-5)
    found = read_tensors(tmp_path / "two" / "model" / "model.safetensors")
    for name, value in read_tensors(tmp_path / "one" / "model" / "model.safetensors").items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_processes_that_do_not_find_the_same_state_are_refused_and_do_not_wait_for_each_other(
    make_pictures_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_pictures_recipe(steps=2)
    train(recipe, tmp_path / "of 0", cache=tmp_path / "cache")
    path = settings_file(
        tmp_path,
        recipe,
        folder=str(tmp_path / "of {rank}"),
        cache=str(tmp_path / "cache"),
        resume=True,
    )
    launch = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")
    said = child("train_here.py", path, before=launch)
    assert said.count("(step 2 in process 0, none in process 1): give a run folder that all") == 2
