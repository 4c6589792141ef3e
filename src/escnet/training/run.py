"""A recipe turned into a trained checkpoint: parts assembled, features computed, loop run."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from escnet.annotations.files import make_folder
from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError, DatasetError
from escnet.evaluation.metrics import Scores
from escnet.inference.tokens import WORDS_FILE, Tokenize, load_tokenizer, words_of
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.training.config import Recipe
from escnet.training.examples import shared_classes
from escnet.training.features import compute_features
from escnet.training.loop import Progress, Trainer
from escnet.training.text_space import fit_map, read_clip_text_vectors
from escnet.training.validation import validate
from escnet.weights.assemble import assemble_paired, install_module, paired_towers
from escnet.weights.checkpoint import load_checkpoint, write_checkpoint

_MOST_TOKENS = 128
_NUM_COCO_NAMES = 80


def train(
    recipe: Recipe,
    folder: Path,
    *,
    cache: Path,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train what the recipe says, and write the checkpoint and its scores.

    Args:
        recipe: What to train, and on what.
        folder: The run's own: recipe, log, state, the checkpoint in model/, and scores.json if the
            recipe names pictures to validate on.
        cache: Where frozen towers' feature maps are kept; runs may share it.
        resume: Go on from the state in the folder.
        on_step: Called after every step.

    Returns:
        The folder of the checkpoint.

    Raises:
        ConfigError: If the folder holds another run, a setting is wrong, or the loss diverges.
        DatasetError: If the data are not as the recipe says.
        OutputError: If the folder cannot be written.
        WeightsError: If a part of the network is missing or damaged.
    """
    if (folder / "state.pt").exists() and not resume:
        raise ConfigError(f"{folder} holds a run already: pass --resume, or another folder")
    make_folder(folder)
    dataset = FolderDataset.read(recipe.data.train)
    # What no part fills starts at random, and what of it is never trained is in no saved state.
    torch.manual_seed(recipe.training.seed)
    network, tokenize = build_network(recipe, dataset)
    classes = shared_classes(dataset)
    wordings, texts = wordings_of(classes, recipe.data.synonyms)
    sentences = sentence_vectors(network, tokenize, texts)
    store = compute_features(
        paired_towers(network)[0],
        list(dataset),
        cache / recipe.data.train.name,
        image_size=network.config.image_size,
        mirror=True,
    )
    trainer = Trainer(network, recipe, dataset, store, sentences, wordings, folder)
    if resume:
        trainer.resume()
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=2), encoding="utf-8")
    trainer.run(on_step)
    trained = trainer.averaged()
    trained.config.trained_on = tuple(name for name in classes if name not in recipe.data.withheld)
    model = folder / "model"
    write_checkpoint(model, trained, tokenizer_from=recipe.parts.sentence)
    words = words_of(known_names(recipe, dataset))
    (model / WORDS_FILE).write_text("\n".join(words) + "\n", encoding="utf-8")
    if recipe.data.validate_on is not None:
        scores = validate(
            trained,
            load_tokenizer(model, _MOST_TOKENS),
            recipe.data.validate_on,
            cache=cache / recipe.data.validate_on.name,
            dtype=recipe.training.dtype,
        )
        (folder / "scores.json").write_text(json.dumps(_summary(scores), indent=2))
    return model


def wordings_of(
    classes: Sequence[str], synonyms: Mapping[str, Sequence[str]]
) -> tuple[list[list[int]], list[str]]:
    """For each class name the texts that may stand for it, and all texts; the names come first.

    Raises:
        ConfigError: If synonyms are given for a name that is no class name.
    """
    if unknown := sorted(set(synonyms) - set(classes)):
        raise ConfigError(f"data.synonyms: no class name {unknown[0]!r} in the data")
    texts = list(classes)
    wordings = []
    for index, name in enumerate(classes):
        first = len(texts)
        texts.extend(synonyms.get(name, ()))
        wordings.append([index, *range(first, len(texts))])
    return wordings, texts


def _summary(scores: dict[str, Scores]) -> dict[str, dict[str, float]]:
    return {
        source: {
            "miou_in_truth": round(score.miou_in_truth, 4),
            "miou_in_either": round(score.miou_in_either, 4),
            "pixel_accuracy": round(score.pixel_accuracy, 4),
        }
        for source, score in scores.items()
    }


def known_names(recipe: Recipe, dataset: FolderDataset) -> list[str]:
    """All names at hand in training, whose words glued names are split into."""
    classes = shared_classes(dataset)
    published = read_clip_text_vectors(recipe.parts.clip_text, list(classes[:_NUM_COCO_NAMES]))
    return [*published.names, *classes, *imagenet_names(recipe.parts.label_names)]


def build_network(recipe: Recipe, dataset: FolderDataset) -> tuple[EscNet, Tokenize]:
    """The untrained network with its frozen parts, its text space fitted, and its tokenizer.

    Raises:
        ConfigError: If a setting is unknown or wrong.
        WeightsError: If a part is missing or damaged.
        DatasetError: If the label names of the ImageNet classifier cannot be read.
    """
    base = preset(recipe.model.preset).to_dict()
    if unknown := sorted(set(recipe.model.settings) - set(base)):
        raise ConfigError(f"model.settings: no setting {unknown[0]!r}: see EscNetConfig")
    settings = {
        name: _of_same_type(name, value, base[name])
        for name, value in recipe.model.settings.items()
    }
    config = EscNetConfig(**{**base, **settings})
    parts = recipe.parts
    network = assemble_paired(
        config,
        vit=parts.vit,
        efficientnet=parts.efficientnet,
        sentence=parts.sentence,
        sam=parts.sam if config.sam == "pretrained" else None,
    )
    tokenize = load_tokenizer(parts.sentence, _MOST_TOKENS)
    classes = shared_classes(dataset)
    known = read_clip_text_vectors(parts.clip_text, list(classes[:_NUM_COCO_NAMES]))
    weight, bias = fit_map(sentence_vectors(network, tokenize, known.names), known.vectors)
    labels = sentence_vectors(network, tokenize, imagenet_names(parts.label_names))
    vision, text = paired_towers(network)
    with torch.no_grad():
        text.to_joint.weight.copy_(weight)
        text.to_joint.bias.copy_(bias)
        named = F.normalize(text.to_joint(labels), dim=1)
        vision.head.label_embedding.copy_(named)
    if parts.start_from is not None:
        _take_over(network, parts.start_from, parts.start_with)
    return network, tokenize


def _of_same_type(name: str, value: Any, default: Any) -> Any:
    """A setting as the preset's value of it is typed; TOML has no tuples, for one."""
    try:
        return TypeAdapter(type(default)).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].lower()
        raise ConfigError(f"model.settings.{name} is {value!r}: {reason}") from error


def _take_over(network: EscNet, checkpoint: Path, what: Literal["alignment", "everything"]) -> None:
    """Copy from an earlier run's checkpoint what the recipe wants of it."""
    taken = load_checkpoint(checkpoint).state_dict()
    if what == "alignment":
        aligned = ("vision.head.", "text.to_joint.", "logit_")
        taken = {name: value for name, value in taken.items() if name.startswith(aligned)}
    install_module(network, taken, str(checkpoint), partly=what == "alignment")


@torch.inference_mode()
def sentence_vectors(
    network: EscNet, tokenize: Tokenize, names: list[str] | tuple[str, ...]
) -> Float[Tensor, "M V"]:
    """The sentence vector of every name in the network's template."""
    _, text = paired_towers(network)
    before, after = network.config.template.split("{}")
    parts = []
    for start in range(0, len(names), 256):
        tokens = tokenize([f"{before}{name}{after}" for name in names[start : start + 256]])
        parts.append(text.sentence(tokens.token, tokens.is_token))
    return torch.cat(parts).clone()


def imagenet_names(path: Path) -> list[str]:
    """The classifier's thousand names in label order.

    Args:
        path: texts.json of a folder of tagged pictures.

    Raises:
        DatasetError: If the file does not name a picture of each of the thousand.
    """
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
        names = [texts[key][0] for key in sorted(texts) if key.startswith("in1k__")]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"label names {path} cannot be read ({error}): give texts.json of the tagged pictures"
        ) from error
    if len(names) != 1000:
        raise DatasetError(f"{path} names {len(names)} ImageNet labels, not 1000: give texts.json")
    return names
