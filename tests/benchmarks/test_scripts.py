"""The scripts of benchmarks/ start, and those that need no data of others run in small."""

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "scenarios")

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a script, whose neighbours it finds as it does when it is run."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_tells_how_it_is_called(
    script: str, load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        load(script).main()
    assert ended.value.code == 0
    assert f"usage: {script}.py" in capsys.readouterr().out


# the second compares our SAM block with that of transformers
@pytest.mark.parametrize("name", ["pseudo_prompts/150", "sam_block_of_transformers/20"])
def test_a_scenario_has_its_times(load: Load, name: str) -> None:
    record = load("run").measure(name, 1, torch.get_num_threads())
    assert record["scenario"] == name
    assert 0 < record["seconds"]["min"] <= record["seconds"]["max"]


def test_every_step_to_be_timed_has_a_recipe_that_is_read(load: Load, tmp_path: Path) -> None:
    steps = load("training_step")
    for timed in steps.TIMED.values():
        recipe = steps._recipe(timed, tmp_path)
        schedule = getattr(recipe, "stages", [recipe.training])[0]
        assert schedule.steps == timed.steps
    for counted in steps.COUNTED.values():
        path = steps.ROOT / "recipes" / f"{counted.recipe}.toml"
        assert steps.read_recipe(path, ["towers.model="]).towers.model == ""


def test_every_variant_of_the_ablation_is_a_recipe(load: Load) -> None:
    ablation = load("ablation")
    recipe = BENCHMARKS.parent / "recipes" / "mini.toml"
    for changes in ablation.VARIANTS.values():
        changed = ablation.read_recipe(recipe, list(changes))
        assert len(changed.model.settings) >= len(changes)


def test_every_format_has_its_time_and_size(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "own__a.jpg")
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "masks" / "own__a.png")
    table = {"datasets": {"own": {"classes": ["cat", "dog"], "has_background": False}}}
    (tmp_path / "classes.json").write_text(json.dumps(table))
    out = tmp_path / "formats.jsonl"
    command = ["formats.py", str(tmp_path), "--out", str(out), "--kinds", "labels,coco"]
    monkeypatch.setattr(sys, "argv", command)
    load("formats").main()
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["format"] for record in records][:2] == ["labels", "coco"]
