"""A recipe's network before its first step, put together from the parts that the recipe names."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError, DatasetError
from escnet.files import shown_path
from escnet.inference.methods.tokens import Tokenize
from escnet.mini.assemble import assemble_paired
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.mini.words import load_mini_tokenizer
from escnet.small_file import SmallFile
from escnet.structures import preset_of, structure_of
from escnet.towers.network import NetworkConfig
from escnet.training.config import PART_FILES, PartsSection, Recipe
from escnet.training.examples import shared_classes
from escnet.training.frozen_towers import kind_of
from escnet.training.text_space import NamedVectors, fit_map, read_clip_text_vectors
from escnet.weights.bounds import check_model_settings
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import load_network
from escnet.weights.config_file import refuse_unusable
from escnet.weights.install import install_module

AnyConfig = TypeVar("AnyConfig", bound=NetworkConfig)
MOST_TOKENS = 128
_TEXTS = SmallFile(
    noun="label names",
    error=DatasetError,
    cure="give texts.json of the tagged pictures",
    most_bytes=2**30,
)
_NUM_COCO_NAMES = 80
_IMAGE_NET_OR_TEXT = re.compile(r"vision\.(?!detail\.)|text\.")
_BEHIND_SAM_WIDTH = re.compile(
    r"^to_sam_width\.|^sam_norm\.|\.sam\.|\.embed_mask\.|\.to_guidance\."
)


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


def build_network(recipe: Recipe, dataset: FolderDataset) -> tuple[Mini, Tokenize]:
    """The untrained network with its frozen parts, its text space fitted, and its tokenizer.

    Raises:
        ConfigError: If a setting is unknown or wrong, or the recipe is not of this kind.
        WeightsError: If a part is missing or damaged.
        DatasetError: If the label names of the ImageNet classifier cannot be read.
    """
    parts = parts_of(recipe)
    if parts.is_whole_checkpoint:
        folder = require_local(str(parts.start_from))
        network = load_network(folder, Mini)
        if recipe.model.settings:
            network = _extended(network, recipe.model.settings, str(folder))
        return network, load_mini_tokenizer(folder, MOST_TOKENS)
    config = config_of(recipe)
    if not isinstance(config, MiniConfig):
        raise ConfigError(
            f"model.preset {recipe.model.preset} is not put together from parts: give the sections "
            "towers and pictures"
        )
    network, tokenize = _assembled(config, parts, dataset)
    if parts.start_from is not None:
        _take_over(network, parts)
    return network, tokenize


def parts_of(recipe: Recipe) -> PartsSection:
    """The recipe's parts.

    Raises:
        ConfigError: If it has none.
    """
    if recipe.parts is None:
        raise ConfigError("the recipe has no section parts: give one, with data")
    return recipe.parts


def config_of(recipe: Recipe) -> NetworkConfig:
    """The network's settings: the preset's, and what the recipe changes of them.

    Raises:
        ConfigError: If the preset or a setting is unknown or wrong.
    """
    return _changed(preset_of(recipe.model.preset), recipe.model.settings)


def _changed(config: AnyConfig, settings: Mapping[str, Any]) -> AnyConfig:
    """The same network's settings but for some."""
    base, kind = config.to_dict(), type(config)
    known = kind.setting_names()
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(
            f"no setting model.settings.{unknown[0]}: choose from {', '.join(sorted(known))}"
        )
    typed = {name: _of_same_type(name, value, base[name]) for name, value in settings.items()}
    changed = {**base, **typed}
    check_model_settings(changed, "the recipe's model", ConfigError)
    cure = "correct it in model.settings"
    with refuse_unusable("the recipe's model", cure=cure, kind=ConfigError), torch.device("meta"):
        config = kind(**changed)
        structure_of(kind.model_type).network(config)
    return config


def _extended(network: Mini, settings: Mapping[str, Any], shown: str) -> Mini:
    """The same network with other settings; parts that these add are untrained.

    Raises:
        ConfigError: If a setting is unknown or wrong.
        WeightsError: If a trained part has no place any more, or another shape.
    """
    extended = Mini(_changed(network.config, settings))
    install_module(extended, network.state_dict(), shown, partly=True)
    return extended.eval()  # or its sentence vectors would have dropout


def _assembled(
    config: MiniConfig, parts: PartsSection, dataset: FolderDataset
) -> tuple[Mini, Tokenize]:
    files: dict[str, Path] = {name: getattr(parts, name) for name in PART_FILES}
    network = assemble_paired(
        config,
        vit=files["vit"],
        efficientnet=files["efficientnet"],
        sentence=files["sentence"],
        sam=files["sam"] if config.sam == "pretrained" else None,
    )
    tokenize = load_mini_tokenizer(files["sentence"], MOST_TOKENS)
    known = _clip_vectors(files["clip_text"], dataset)
    weight, bias = fit_map(sentence_vectors(network, tokenize, known.names), known.vectors)
    labels = sentence_vectors(network, tokenize, imagenet_names(files["label_names"]))
    vision, text = network.vision, network.text
    with torch.no_grad():
        text.to_joint.weight.copy_(weight)
        text.to_joint.bias.copy_(bias)
        named = F.normalize(text.to_joint(labels), dim=1)
        vision.head.label_embedding.copy_(named)
    return network, tokenize


def known_names(recipe: Recipe, dataset: FolderDataset) -> list[str]:
    """All names at hand in training, whose words glued names are split into."""
    parts = parts_of(recipe)
    classes = list(shared_classes(dataset))
    if parts.clip_text is None or parts.label_names is None:
        return classes
    published = _clip_vectors(parts.clip_text, dataset)
    return [*published.names, *classes, *imagenet_names(parts.label_names)]


def _clip_vectors(folder: Path, dataset: FolderDataset) -> NamedVectors:
    return read_clip_text_vectors(folder, list(shared_classes(dataset)[:_NUM_COCO_NAMES]))


def _of_same_type(name: str, value: Any, default: Any) -> Any:
    """A setting as the preset's value of it is typed; TOML has no tuples, for one."""
    try:
        as_json = json.dumps(value, default=str)  # as in `config.py`
        return TypeAdapter(type(default)).validate_json(as_json, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].lower()
        raise ConfigError(f"model.settings.{name} is {value!r}: {reason}") from error


def _take_over(network: Mini, parts: PartsSection) -> None:
    """Copy from an earlier run's checkpoint what the recipe wants of it.

    Image nets stay those of the parts: a checkpoint may hold them with fewer bits. Where the map
    to SAM's width will be fitted anew, everything behind it starts from SAM's own weights.
    """
    checkpoint = require_local(str(parts.start_from))
    before = load_network(checkpoint, Mini)
    network.config.trained_on = before.config.trained_on
    taken = {
        name: value
        for name, value in before.state_dict().items()
        if kind_of(name) in ("head", "text")
        or (parts.start_with == "everything" and not _IMAGE_NET_OR_TEXT.match(name))
    }
    if parts.sam_embeddings is not None:
        taken = {name: value for name, value in taken.items() if not _BEHIND_SAM_WIDTH.search(name)}
    install_module(network, taken, str(checkpoint), partly=True)


@torch.inference_mode()
def sentence_vectors(
    network: Mini, tokenize: Tokenize, names: list[str] | tuple[str, ...]
) -> Float[Tensor, "M V"]:
    """The sentence vector of every name in the network's template."""
    text = network.text
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
    texts = _TEXTS.object_of(path)
    try:
        names = [texts[key][0] for key in sorted(texts) if key.startswith("in1k__")]
    except (LookupError, TypeError) as error:
        raise DatasetError(
            f"{shown_path(path)} has a picture without a text ({error}): {_TEXTS.cure}"
        ) from error
    if len(names) != 1000:
        raise DatasetError(f"{path} names {len(names)} ImageNet labels, not 1000: give texts.json")
    return names
