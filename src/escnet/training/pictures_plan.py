"""A recipe with towers and pictures, ready for the loop: network assembled, data found.

The network may be of any structure, all of which are trained in the same way.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError
from escnet.inference.methods.tokens import load_tokenizer
from escnet.model.config import EscNetConfig
from escnet.model.escnet import EscNet
from escnet.towers.network import Network
from escnet.towers.table import tower_kind
from escnet.training.network_settings import config_of
from escnet.training.pictures import PicturesStage
from escnet.training.pictures_recipe import PicturesRecipe, TowersSection
from escnet.training.sources import read_sources
from escnet.training.stage import Plan, parameter_names
from escnet.weights.assemble import assemble, with_sam
from escnet.weights.catalog import require_local
from escnet.weights.tensor_file import tensors_hash

_MOST_TOKENS = 77


@runtime_checkable
class BuildForRecipe(Protocol):
    """Puts the network together that a recipe with towers and pictures trains."""

    def __call__(self, config: Any, recipe: PicturesRecipe, *, num_names: int) -> Network:
        """An untrained network on the towers of the recipe.

        Args:
            config: The network's settings, of the structure's own class.
            recipe: The recipe.
            num_names: Class names of its pictures.
        """


def plan_pictures(recipe: PicturesRecipe, cache: Path, *, build: BuildForRecipe) -> Plan:
    """The run that a recipe describes, before its first step.

    Args:
        recipe: With towers and pictures.
        cache: Not used: nothing is said of pictures that could be kept.
        build: Puts the structure's network together.

    Raises:
        ConfigError: If a setting is wrong.
        DatasetError: If the data are not as the recipe says.
        WeightsError: If a part of the network is missing or damaged.
    """
    del cache
    sources, validate_on = read_sources(recipe.pictures.sources), recipe.pictures.validate_on
    config = config_of(recipe.model)
    network = build(config, recipe, num_names=len(sources.names))
    tokenizer = _tokenizer_folder(recipe.towers)
    most = config.text_config.get("max_position_embeddings", _MOST_TOKENS)
    reading = tower_kind(getattr(config, "towers", "clip")).reading
    tokenize = load_tokenizer(tokenizer, most, reading)
    stage = PicturesStage(network, tokenize, sources, recipe)
    trained = parameter_names(stage.groups)
    frozen = {name: p for name, p in network.named_parameters() if name not in trained}
    return Plan(
        network=network,
        stages=[stage],
        tokenize=tokenize,
        tokenizer=tokenizer,
        names=sources.names,
        folders=sources.folders,
        validate_on=None if validate_on is None else FolderDataset.read(validate_on),
        identity={
            "network": network.config.to_dict(),
            "frozen weights": tensors_hash(frozen),
            **sources.identity(),
        },
    )


def build_esc_net(config: EscNetConfig, recipe: PicturesRecipe, *, num_names: int) -> EscNet:
    """As `BuildForRecipe`, for ESC-Net."""
    del num_names  # it reads any number
    return build_with_towers(config, recipe.towers)


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
    if not towers.model:
        return with_sam(EscNet(config), [], sam)
    return assemble(config, towers=towers.model, sam=sam)


def _tokenizer_folder(towers: TowersSection) -> Path:
    source = towers.tokenizer or towers.model
    if not source:
        raise ConfigError("towers.tokenizer is missing: name the model's, or a folder with one")
    return require_local(source)
