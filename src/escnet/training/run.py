"""A recipe turned into a trained checkpoint: parts assembled, features computed, loop run."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from escnet.annotations.json_text import to_marked_json
from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError
from escnet.evaluation.metrics import Scores
from escnet.files import check_replaceable, is_ours, make_folder, replace_file, write_file
from escnet.inference.names.glued_words import WORDS_FILE, read_words, words_of
from escnet.mini.network import Mini
from escnet.mini.words import load_mini_tokenizer
from escnet.training.answer_sheet import encode_answer_sheet
from escnet.training.assembly import (
    MOST_TOKENS,
    build_network,
    known_names,
    parts_of,
    sentence_vectors,
    wordings_of,
)
from escnet.training.captions import CaptionedPictures
from escnet.training.config import DataSection, Recipe
from escnet.training.curves import encode_curves
from escnet.training.detail import DetailData, DetailTask
from escnet.training.examples import shared_classes
from escnet.training.features import compute_features
from escnet.training.frozen_towers import Captions, FrozenTowersData, FrozenTowersTask
from escnet.training.loop import Progress, Trainer, start_accelerator
from escnet.training.pictures_run import prepare_pictures
from escnet.training.run_log import LOG_FILE, read_log
from escnet.training.sam_width import fit_sam_width
from escnet.training.states import SavedStates
from escnet.training.task import Task
from escnet.training.validation import (
    Validation,
    mean_miou,
    validation_of_pictures,
    validation_of_stored,
)
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import check_checkpoint_folder, write_checkpoint
from escnet.weights.tokenizer_files import TOKENIZER_FILE, tokenizer_json

_RECIPE_FILE = "recipe.json"  # by its mark a folder is known as a run's
_SCORES_FILE = "scores.json"
_CURVES_FILE = "curves.png"
_SHEETS_FOLDER = "sheets"
_TOKENIZER_FOLDER = "tokenizer"
_FINISHED_FOLDER = "finished"  # in the cache
_FROM_EARLIER_VERSIONS = "state.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a recipe becomes before the first step.

    Attributes:
        task: What the loop trains.
        validation: What it is scored by, if by anything.
        trained_on: Class names that the network is shown.
        tokenizer: A folder with the tokenizer's files, which the checkpoint will hold.
        finish: What is still to be done to the network before the checkpoint is written.
    """

    task: Task
    validation: Validation | None
    trained_on: tuple[str, ...]
    tokenizer: Path
    finish: Callable[[], None] = lambda: None


def train(
    recipe: Recipe,
    folder: Path,
    *,
    cache: Path,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train what the recipe says, and write the checkpoint and its scores.

    Every process of a run calls this; only the first one writes.

    Args:
        recipe: What to train, and on what.
        folder: The run's own: recipe, log, states, curves, sheets, the checkpoint in model/, and
            scores.json if the recipe names pictures to validate on.
        cache: Where frozen towers' feature maps are kept, or for `data.detail` a finished network's
            answers; runs may share it.
        resume: Go on from the newest state in the folder.
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
    with accelerator.main_process_first():  # it leaves the others its feature maps
        prepared = _prepared(recipe, folder, cache)
    trainer = Trainer(
        prepared.task, recipe, folder, accelerator, _look(recipe, folder, prepared.validation)
    )
    if resume:
        trainer.resume()
    if accelerator.is_main_process:
        write_file(folder / _RECIPE_FILE, to_marked_json(recipe.model_dump(mode="json")))
    trainer.run(on_step)
    if accelerator.is_main_process:
        _finish(trainer, prepared, folder)
    accelerator.wait_for_everyone()
    return folder / "model"


def _check_folder(folder: Path, *, resume: bool) -> None:
    if (folder / _FROM_EARLIER_VERSIONS).exists():
        raise ConfigError(
            f"{folder / _FROM_EARLIER_VERSIONS} is of an earlier version and cannot be gone on "
            "with: give another folder"
        )
    if SavedStates(folder, keep=1).paths() and not resume:
        raise ConfigError(f"{folder} holds a run already: pass --resume, or another folder")
    if not is_ours(folder / _RECIPE_FILE):  # no run has been here: what is, is somebody's own
        written = (_RECIPE_FILE, LOG_FILE, _CURVES_FILE, _SCORES_FILE)
        check_replaceable(folder / name for name in written)
        check_checkpoint_folder(folder / "model")


def _prepared(recipe: Recipe, folder: Path, cache: Path) -> Prepared:
    if recipe.data is None:
        return _prepared_pictures(recipe)
    return _prepared_frozen(recipe, recipe.data, folder, cache)


def _prepared_pictures(recipe: Recipe) -> Prepared:
    """A network whose towers see every picture anew."""
    run = prepare_pictures(recipe)
    validation = None
    if recipe.pictures is not None and recipe.pictures.validate_on is not None:
        validation = validation_of_pictures(
            run.task.network,
            run.tokenize,
            recipe.pictures.validate_on,
            dtype=recipe.training.dtype,
        )
    return Prepared(
        task=run.task,
        validation=validation,
        trained_on=run.names,
        tokenizer=run.tokenizer,
    )


def _prepared_frozen(recipe: Recipe, data: DataSection, folder: Path, cache: Path) -> Prepared:
    """A network whose image nets are run once, unless the recipe shows views."""
    dataset = FolderDataset.read(data.train)
    network, tokenize = build_network(recipe, dataset)
    classes = shared_classes(dataset)
    wordings, texts = wordings_of(classes, data.synonyms)
    sentences = sentence_vectors(network, tokenize, texts)
    if data.detail is not None:
        with torch.no_grad():
            embedding = network.text.to_joint(sentences)
        detail = DetailData(
            dataset=dataset,
            embedding=embedding,
            wordings=wordings,
            section=data,
            cache=cache / _FINISHED_FOLDER,
        )
        task = DetailTask(network, detail, recipe.training)
        prepared = _with_validation(recipe, data, dataset, task, folder, cache)
        return replace(prepared, finish=task.finish)
    store = None
    if data.views is None:
        store = compute_features(
            network.vision,
            list(dataset),
            cache / data.train.name,
            image_size=network.config.image_size,
            mirror=True,
            skip_broken=True,
        )
    if (embeddings := parts_of(recipe).sam_embeddings) is not None:
        fit_sam_width(network, list(dataset), embeddings, store)
    shown = FrozenTowersData(
        dataset=dataset,
        store=store,
        sentences=sentences,
        wordings=wordings,
        section=data,
        captions=_captions(network, dataset, data, wordings, texts, cache),
    )
    return _with_validation(
        recipe, data, dataset, FrozenTowersTask(network, shown, recipe.training), folder, cache
    )


def _with_validation(
    recipe: Recipe,
    data: DataSection,
    dataset: FolderDataset,
    task: Task,
    folder: Path,
    cache: Path,
) -> Prepared:
    """A task of the built-in model's kind with what the run needs beside it."""
    network: Mini = task.network
    tokenizer = _write_tokenizer(recipe, dataset, folder / _TOKENIZER_FOLDER)
    validation = None
    if data.validate_on is not None:
        to_tokens = load_mini_tokenizer(tokenizer, MOST_TOKENS)
        dtype = recipe.training.dtype
        if data.views is None and not network.config.detail:
            validation = validation_of_stored(
                network,
                to_tokens,
                data.validate_on,
                cache=cache / data.validate_on.name,
                dtype=dtype,
            )
        else:
            validation = validation_of_pictures(network, to_tokens, data.validate_on, dtype=dtype)
    shown = [name for name in shared_classes(dataset) if name not in data.withheld]
    return Prepared(
        task=task,
        validation=validation,
        trained_on=tuple(dict.fromkeys((*network.config.trained_on, *shown))),
        tokenizer=tokenizer,
    )


def _captions(
    network: Mini,
    dataset: FolderDataset,
    data: DataSection,
    wordings: Sequence[Sequence[int]],
    texts: Sequence[str],
    cache: Path,
) -> Captions | None:
    section = data.captions
    if section is None:
        return None
    pictures = CaptionedPictures.of(dataset, section, wordings, texts)
    store = None
    if data.views is None:
        store = compute_features(
            network.vision,
            pictures.items,
            cache / section.root.name,
            image_size=network.config.image_size,
            mirror=False,
            skip_broken=True,
        )
    return Captions(pictures, store, section)


def _write_tokenizer(recipe: Recipe, dataset: FolderDataset, folder: Path) -> Path:
    """The tokenizer that the checkpoint will hold, with the words that it splits glued names by."""
    make_folder(folder)
    parts = parts_of(recipe)
    words = set(words_of(known_names(recipe, dataset)))
    if parts.sentence is not None:
        source = parts.sentence
    else:
        source = require_local(str(parts.start_from))
        words |= read_words(source / WORDS_FILE) or set()
    replace_file(folder / TOKENIZER_FILE, tokenizer_json(source))
    replace_file(folder / WORDS_FILE, ("\n".join(sorted(words)) + "\n").encode())
    return folder


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


def _finish(trainer: Trainer, prepared: Prepared, folder: Path) -> None:
    """The averaged network as a checkpoint, its scores, its sheet, and the curves."""
    network: Mini = prepared.task.network
    model = folder / "model"
    with trainer.averaged():
        network.config.trained_on = prepared.trained_on
        prepared.finish()
        write_checkpoint(model, network, tokenizer_from=prepared.tokenizer)
        if prepared.validation is not None:
            scores = prepared.validation.scores()
            replace_file(folder / _SCORES_FILE, json.dumps(_summary(scores), indent=2).encode())
            _write_sheet(
                prepared.validation, trainer.recipe.records.sheet_pictures, folder, trainer.step
            )
    _write_curves(folder)
    shutil.rmtree(folder / _TOKENIZER_FOLDER, ignore_errors=True)


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
