"""A recipe turned into a trained checkpoint: parts assembled, features computed, loop run."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError, DatasetError
from escnet.inference.tokens import WORDS_FILE, Tokenize, load_tokenizer, words_of
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.training.config import Recipe
from escnet.training.features import compute_features
from escnet.training.loop import Progress, Trainer
from escnet.training.text_space import fit_map, read_clip_text_vectors
from escnet.weights.assemble import assemble_paired, install_module
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
    """Train what the recipe says, and write the checkpoint.

    Args:
        folder: The run's own: recipe, log, state, and the checkpoint in model/.
        cache: Where frozen towers' feature maps are kept; runs may share it.
        resume: Go on from the state in the folder.
        on_step: Called after every step.

    Returns:
        The folder of the checkpoint.

    Raises:
        ConfigError: If the folder holds another run, or a setting is wrong.
        DatasetError: If the data are not as the recipe says.
        WeightsError: If a part of the network is missing or damaged.
    """
    if (folder / "state.pt").exists() and not resume:
        raise ConfigError(f"{folder} holds a run already: pass --resume, or another folder")
    dataset = FolderDataset.read(recipe.data.train)
    network, tokenize = build_network(recipe, dataset)
    sentences = sentence_vectors(network, tokenize, dataset.source(dataset.sources[0]).classes)
    store = compute_features(
        network.vision,
        list(dataset),
        cache / recipe.data.train.name,
        image_size=network.config.image_size,
        mirror=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(network, recipe, dataset, store, sentences, folder)
    if resume:
        trainer.resume()
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=2))
    trainer.run(on_step)
    trained = trainer.averaged()
    trained.config.trained_on = tuple(
        name
        for name in dataset.source(dataset.sources[0]).classes
        if name not in recipe.data.withheld
    )
    model = folder / "model"
    write_checkpoint(model, trained, tokenizer_from=recipe.parts.sentence)
    (model / WORDS_FILE).write_text("\n".join(words_of(known_names(recipe, dataset))) + "\n")
    return model


def known_names(recipe: Recipe, dataset: FolderDataset) -> list[str]:
    """All names at hand in training, whose words glued names are split into."""
    classes = dataset.source(dataset.sources[0]).classes
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
    config = EscNetConfig(**{**base, **recipe.model.settings})
    parts = recipe.parts
    network = assemble_paired(
        config,
        vit=parts.vit,
        efficientnet=parts.efficientnet,
        sentence=parts.sentence,
        sam=parts.sam if config.sam == "pretrained" else None,
    )
    tokenize = load_tokenizer(parts.sentence, _MOST_TOKENS)
    classes = dataset.source(dataset.sources[0]).classes
    known = read_clip_text_vectors(parts.clip_text, list(classes[:_NUM_COCO_NAMES]))
    weight, bias = fit_map(sentence_vectors(network, tokenize, known.names), known.vectors)
    labels = sentence_vectors(network, tokenize, imagenet_names(parts.label_names))
    with torch.no_grad():
        network.text.to_joint.weight.copy_(weight)
        network.text.to_joint.bias.copy_(bias)
        named = F.normalize(network.text.to_joint(labels), dim=1)
        network.vision.head.label_embedding.copy_(named)
    if parts.start_from is not None:
        _take_alignment(network, parts.start_from)
    return network, tokenize


def _take_alignment(network: EscNet, checkpoint: Path) -> None:
    """Copy what the alignment trains from an earlier run's checkpoint."""
    aligned = load_checkpoint(checkpoint).state_dict()
    taken = {
        name: value
        for name, value in aligned.items()
        if name.startswith(("vision.head.", "text.to_joint.", "logit_"))
    }
    install_module(network, taken, str(checkpoint), partly=True)


@torch.inference_mode()
def sentence_vectors(
    network: EscNet, tokenize: Tokenize, names: list[str] | tuple[str, ...]
) -> Float[Tensor, "M V"]:
    """The sentence vector of every name in the network's template."""
    before, after = network.config.template.split("{}")
    parts = []
    for start in range(0, len(names), 256):
        tokens = tokenize([f"{before}{name}{after}" for name in names[start : start + 256]])
        parts.append(network.text.sentence(tokens.token, tokens.is_token))
    return torch.cat(parts).clone()


def imagenet_names(path: Path) -> list[str]:
    """The classifier's thousand names in label order, from texts.json of a folder of tagged pictures.

    Raises:
        DatasetError: If the file does not name a picture of each of the thousand.
    """
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"label names {path} cannot be read ({error}): give texts.json") from error
    names = [texts[key][0] for key in sorted(texts) if key.startswith("in1k__")]
    if len(names) != 1000:
        raise DatasetError(f"{path} names {len(names)} ImageNet labels, not 1000: give texts.json")
    return names
