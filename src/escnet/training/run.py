"""A recipe turned into a trained checkpoint: plan made, loop run, what came of it written down."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from escnet.annotations.json_text import to_marked_json
from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError
from escnet.evaluation.metrics import Scores
from escnet.files import check_replaceable, is_ours, make_folder, replace_file, write_file
from escnet.structures import builder_of
from escnet.training.figures import encode_answer_sheet, encode_curves
from escnet.training.loop import Trainer
from escnet.training.pace import StepReport
from escnet.training.processes import dtype_of, start_accelerator
from escnet.training.recipe import Recipe
from escnet.training.run_log import LOG_FILE, read_log
from escnet.training.stage import Plan
from escnet.training.states import SavedStates
from escnet.training.validation import Validation, mean_miou
from escnet.weights.checkpoint import check_checkpoint_folder, write_checkpoint

_RECIPE_FILE = "recipe.json"  # by its mark a folder is known as a run's
_SCORES_FILE = "scores.json"
_CURVES_FILE = "curves.png"
_SHEETS_FOLDER = "sheets"


def train(
    recipe: Recipe,
    folder: Path,
    *,
    cache: Path,
    resume: bool = False,
    on_folder: Callable[[FolderDataset], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> Path:
    """Train what the recipe says, and write the checkpoint and its scores.

    Every process of a run calls this; only the first one writes.

    Args:
        recipe: What to train, and on what.
        folder: The run's own: recipe, log, states, curves, sheets, the checkpoint in model/, and
            scores.json if the recipe names pictures to validate on.
        cache: Where what frozen networks say of pictures is kept; runs may share it.
        resume: Go on from the newest state in the folder.
        on_folder: Called with every folder of labelled pictures, in the first process, before
            anything is trained.
        on_step: Called after every step, in the first process.

    Returns:
        The folder of the checkpoint.

    Raises:
        ConfigError: If the folder holds another run, a setting is wrong, or the loss diverges.
        DatasetError: If the data are not as the recipe says.
        OutputError: If the folder cannot be written, or holds somebody's own files.
        Stopped: If the process was asked to stop; the state is saved.
        WeightsError: If a part of the network, or the state to go on from, is missing or damaged.
    """
    _check_folder(folder, resume=resume)
    make_folder(folder)
    accelerator = start_accelerator(recipe.training)
    # What no part fills starts at random, and what of it is never trained is in no saved state.
    torch.manual_seed(recipe.training.seed)
    with accelerator.main_process_first():  # it leaves the others what it computed
        plan = builder_of(recipe.model.preset).plan(recipe, cache)
    if accelerator.is_main_process and on_folder is not None:
        used = (*plan.folders, plan.validate_on)
        for dataset in {one.root: one for one in used if one is not None}.values():
            on_folder(dataset)
    validation = _validation_of(plan, recipe)
    trainer = Trainer(plan, recipe, folder, accelerator, _look(recipe, folder, validation))
    if resume:
        trainer.resume()
    if accelerator.is_main_process:
        write_file(folder / _RECIPE_FILE, to_marked_json(recipe.model_dump(mode="json")))
    trainer.run(on_step)
    if accelerator.is_main_process:
        _write_results(trainer, validation, folder)
    accelerator.wait_for_everyone()
    return folder / "model"


def _check_folder(folder: Path, *, resume: bool) -> None:
    if SavedStates(folder, keep=1).paths() and not resume:
        raise ConfigError(f"{folder} holds a run already: pass --resume, or another folder")
    if not is_ours(folder / _RECIPE_FILE):  # no run has been here: what is, is somebody's own
        written = (_RECIPE_FILE, LOG_FILE, _CURVES_FILE, _SCORES_FILE)
        check_replaceable(folder / name for name in written)
        check_checkpoint_folder(folder / "model")


def _validation_of(plan: Plan, recipe: Recipe) -> Validation | None:
    if plan.validate_on is None:
        return None
    dtype = dtype_of(recipe.training)
    return Validation(plan.network, plan.tokenize, plan.validate_on, dtype=dtype)


def _look(
    recipe: Recipe, folder: Path, validation: Validation | None
) -> Callable[[int], Mapping[str, Any]] | None:
    """What the loop does every so often: scores, a sheet, and the curves so far."""
    if validation is None:
        return None
    records = recipe.records

    def look(step: int) -> dict[str, Any]:
        scores = validation.scores(records.validate_pictures)
        _write_sheet(validation, records.sheet_pictures, folder, step)
        _write_curves(folder)
        return {"miou": round(mean_miou(scores), 6), **_summary(scores)}

    return look


def _write_results(trainer: Trainer, validation: Validation | None, folder: Path) -> None:
    """The network as a checkpoint, its scores, its sheet, and the curves."""
    plan = trainer.plan
    plan.network.config.trained_on = plan.names
    write_checkpoint(folder / "model", plan.network, tokenizer_from=plan.tokenizer)
    if validation is not None:
        scores = validation.scores()
        replace_file(folder / _SCORES_FILE, json.dumps(_summary(scores), indent=2).encode())
        _write_sheet(validation, trainer.recipe.records.sheet_pictures, folder, trainer.step)
    _write_curves(folder)


def _write_sheet(validation: Validation, num_pictures: int, folder: Path, step: int) -> None:
    if num_pictures:
        sheet = encode_answer_sheet(validation.answers(num_pictures))
        write_file(make_folder(folder / _SHEETS_FOLDER) / f"step-{step:08}.jpg", sheet)


def _write_curves(folder: Path) -> None:
    if entries := read_log(folder):
        write_file(folder / _CURVES_FILE, encode_curves(entries))


def _summary(scores: dict[str, Scores]) -> dict[str, dict[str, float]]:
    return {
        source: {
            "miou_in_truth": round(score.miou_in_truth, 4),
            "miou_in_either": round(score.miou_in_either, 4),
            "pixel_accuracy": round(score.pixel_accuracy, 4),
        }
        for source, score in scores.items()
    }
