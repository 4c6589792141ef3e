"""The network before its first step, put together from the parts that a recipe names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from escnet.data.layout import class_names
from escnet.errors import ConfigError, DatasetError
from escnet.files import display_path
from escnet.inference.methods.tokens import Tokenize
from escnet.inference.names.glued_words import WORDS_FILE, read_words, words_of
from escnet.mini.assemble import assemble_paired
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.mini.training.parameters import kind_of
from escnet.mini.training.recipe import PART_FILES, MiniRecipe, PartsSection
from escnet.mini.training.text_space import fit_map, read_clip_text_vectors
from escnet.mini.training.texts import sentence_vectors
from escnet.mini.words import load_mini_tokenizer
from escnet.small_file import SmallFile
from escnet.training.network_settings import changed, config_of
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import load_network
from escnet.weights.install import install_module

MOST_TOKENS = 128
_TEXTS = SmallFile(
    noun="label names",
    error=DatasetError,
    cure="give texts.json of the tagged pictures",
    most_bytes=2**30,
)
_COCO_NAMES = class_names("coco171")[:80]


def build_network(recipe: MiniRecipe) -> Mini:
    """The untrained network with its frozen parts and its text space, or one trained before.

    Raises:
        ConfigError: If a setting is unknown or wrong.
        WeightsError: If a part is missing or damaged.
        DatasetError: If the label names of the ImageNet classifier cannot be read.
    """
    parts = recipe.parts
    if parts.is_whole_checkpoint:
        folder = require_local(str(parts.start_from))
        network = load_network(folder, Mini)
        if recipe.model.settings:
            network = _extended(network, recipe.model.settings, str(folder))
        return network.eval()
    config = config_of(recipe.model)
    if not isinstance(config, MiniConfig):
        raise ConfigError(f"model.preset {recipe.model.preset} is not put together from parts")
    network = _assembled(config, parts)
    if parts.start_from is not None:
        _take_over_alignment(network, parts)
    return network.eval()


def tokenizer_source(parts: PartsSection) -> Path:
    """The folder that the tokenizer comes from."""
    return parts.sentence or require_local(str(parts.start_from))


def load_part_tokenizer(folder: Path) -> Tokenize:
    """The sentence encoder's tokenizer."""
    return load_mini_tokenizer(folder, MOST_TOKENS)


def known_words(parts: PartsSection, names: Sequence[str]) -> list[str]:
    """The words of all names at hand, which glued names are split into.

    Args:
        parts: Of the recipe.
        names: Class names of the labelled pictures.
    """
    words = set(words_of(names))
    if parts.clip_text is not None and parts.label_names is not None:
        published = read_clip_text_vectors(parts.clip_text, _COCO_NAMES).names
        words.update(words_of([*published, *imagenet_names(parts.label_names)]))
    else:
        words |= read_words(tokenizer_source(parts) / WORDS_FILE) or set()
    return sorted(words)


def imagenet_names(path: Path) -> list[str]:
    """The classifier's thousand names in label order.

    Args:
        path: texts.json of a folder of tagged pictures.

    Raises:
        DatasetError: If the file does not name a picture of each of the thousand.
    """
    texts = _TEXTS.object_of(path)
    try:
        names = [texts[key][0] for key in sorted(texts) if key.startswith("in1k__")]
    except (LookupError, TypeError) as error:
        raise DatasetError(
            f"{display_path(path)} has a picture without a text ({error}): {_TEXTS.cure}"
        ) from error
    if len(names) != 1000:
        raise DatasetError(f"{path} names {len(names)} ImageNet labels, not 1000: give texts.json")
    return names


def _extended(network: Mini, settings: Mapping[str, Any], shown: str) -> Mini:
    """The same network with other settings; parts that these add are untrained.

    Raises:
        ConfigError: If a setting is unknown or wrong.
        WeightsError: If a trained part has no place any more, or another shape.
    """
    extended = Mini(changed(network.config, settings))
    install_module(extended, network.state_dict(), shown, partly=True)
    return extended


def _assembled(config: MiniConfig, parts: PartsSection) -> Mini:
    files: dict[str, Path] = {name: getattr(parts, name) for name in PART_FILES}
    network = assemble_paired(
        config,
        vit=files["vit"],
        efficientnet=files["efficientnet"],
        sentence=files["sentence"],
        sam=files["sam"] if config.sam == "pretrained" else None,
    )
    tokenize = load_part_tokenizer(files["sentence"])
    known = read_clip_text_vectors(files["clip_text"], _COCO_NAMES)
    weight, bias = fit_map(sentence_vectors(network, tokenize, known.names), known.vectors)
    labels = sentence_vectors(network, tokenize, imagenet_names(files["label_names"]))
    vision, text = network.vision, network.text
    with torch.no_grad():
        text.to_joint.weight.copy_(weight)
        text.to_joint.bias.copy_(bias)
        named = F.normalize(text.to_joint(labels), dim=1)
        vision.head.label_embedding.copy_(named)
    return network


def _take_over_alignment(network: Mini, parts: PartsSection) -> None:
    """Copy the maps to the joint space from an earlier run's checkpoint.

    Image nets stay those of the parts: a checkpoint may hold them with fewer bits.
    """
    checkpoint = require_local(str(parts.start_from))
    before = load_network(checkpoint, Mini)
    network.config.trained_on = before.config.trained_on
    taken = {
        name: value
        for name, value in before.state_dict().items()
        if kind_of(name) in ("head", "text")
    }
    install_module(network, taken, str(checkpoint), partly=True)
