"""A recipe with towers and pictures, ready for the loop: network assembled, data found.

The network may be of any structure, all of which are trained in the same way.
"""

from dataclasses import dataclass
from pathlib import Path

from escnet.errors import ConfigError
from escnet.inference.methods.tokens import Tokenize, load_tokenizer
from escnet.model.config import EscNetConfig
from escnet.model.escnet import EscNet
from escnet.structures import structure_of
from escnet.towers.table import tower_kind
from escnet.training.assembly import config_of
from escnet.training.config import Recipe
from escnet.training.data_config import PicturesSection, TowersSection
from escnet.training.pictures_task import PicturesTask
from escnet.training.sources import read_sources
from escnet.training.tagged import TaggedPictures
from escnet.weights.assemble import assemble, with_sam
from escnet.weights.catalog import require_local

_MOST_TOKENS = 77


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesRun:
    """What such a recipe becomes.

    Attributes:
        task: What the loop trains.
        tokenize: Of the network's text tower.
        tokenizer: Folder of the tokenizer's files.
        names: The vocabulary that is trained on.
    """

    task: PicturesTask
    tokenize: Tokenize
    tokenizer: Path
    names: tuple[str, ...]


def prepare_pictures(recipe: Recipe) -> PicturesRun:
    """The run that a recipe describes, before its first step.

    Raises:
        ConfigError: If a setting is wrong.
        DatasetError: If the data are not as the recipe says.
        WeightsError: If a part of the network is missing or damaged.
    """
    towers, pictures = sections_of(recipe)
    sources = read_sources(pictures.sources)
    config = config_of(recipe)
    build = structure_of(config.model_type).build_for_recipe
    network = build(config, recipe, num_names=len(sources.names))
    tokenizer = _tokenizer_folder(towers)
    most = config.text_config.get("max_position_embeddings", _MOST_TOKENS)
    reading = tower_kind(getattr(config, "towers", "clip")).reading
    tokenize = load_tokenizer(tokenizer, most, reading)
    texts = pictures.texts
    task = PicturesTask(
        network,
        tokenize,
        sources,
        (pictures, towers, recipe.training),
        None if texts is None else TaggedPictures.read(texts.root),
    )
    return PicturesRun(task=task, tokenize=tokenize, tokenizer=tokenizer, names=sources.names)


def sections_of(recipe: Recipe) -> tuple[TowersSection, PicturesSection]:
    """The recipe's towers and pictures.

    Raises:
        ConfigError: If it has not both.
    """
    if recipe.towers is None or recipe.pictures is None:
        raise ConfigError("the recipe has no sections towers and pictures: give both")
    return recipe.towers, recipe.pictures


def build_esc_net(config: EscNetConfig, recipe: Recipe, *, num_names: int) -> EscNet:
    """As `escnet.structures.BuildForRecipe`, for ESC-Net."""
    del num_names  # it reads any number
    return build_with_towers(config, sections_of(recipe)[0])


def build_with_towers(config: EscNetConfig, towers: TowersSection) -> EscNet:
    """A network with the towers that a recipe names; what lies between them is untrained.

    Raises:
        ConfigError: If SAM is wanted and not named.
        WeightsError: If a part is missing, damaged, or of another shape.
    """
    if config.sam == "pretrained" and not towers.sam:
        raise ConfigError(
            "towers.sam is missing: name a SAM, or set model.settings.sam to random or none"
        )
    sam = towers.sam if config.sam == "pretrained" else None
    if not towers.clip:
        return with_sam(EscNet(config), [], sam)
    return assemble(config, towers=towers.clip, sam=sam)


def _tokenizer_folder(towers: TowersSection) -> Path:
    source = towers.tokenizer or towers.clip
    if not source:
        raise ConfigError("towers.tokenizer is missing: name CLIP's, or a folder with one")
    return require_local(source)
