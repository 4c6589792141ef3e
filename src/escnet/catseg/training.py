"""CAT-Seg before its training by a recipe: put together from published towers."""

from escnet.catseg.config import CatSegConfig
from escnet.catseg.network import CatSeg
from escnet.errors import ConfigError
from escnet.towers.tower import Towers
from escnet.training.pictures_recipe import PicturesRecipe, TowersSection
from escnet.weights.assemble import agree_with_towers
from escnet.weights.tower_folder import TowerFolder


def build_for_recipe(config: CatSegConfig, recipe: PicturesRecipe, *, num_names: int) -> CatSeg:
    """The network that a recipe with towers and pictures trains.

    Args:
        config: Its settings.
        recipe: The recipe.
        num_names: Class names of its pictures.

    Raises:
        ConfigError: If the recipe sets what CAT-Seg has not.
        WeightsError: If a tower is missing, damaged, or of another shape.
    """
    _check(recipe, config, num_names)
    return build_catseg(config, recipe.towers)


def build_catseg(config: CatSegConfig, towers: TowersSection) -> CatSeg:
    """CAT-Seg with the towers that a recipe names; what lies behind them is untrained.

    Raises:
        WeightsError: If a tower is missing, damaged, or of another shape.
    """
    network = CatSeg(config)
    if towers.model:
        folder = TowerFolder.read(towers.model)
        agree_with_towers(config, folder, may_adopt=False)
        folder.fill(Towers(network.vision, network.text))
        config.origins = (folder.origin().to_dict(),)
    return network.eval()


def _check(recipe: PicturesRecipe, config: CatSegConfig, num_names: int) -> None:
    """Refuse settings that ESC-Net has and CAT-Seg has not."""
    if recipe.training.evidence_weight:
        raise ConfigError(
            f"training.evidence_weight is {recipe.training.evidence_weight}, but CAT-Seg reads no "
            "prompts off any maps: set it to 0"
        )
    if recipe.training.gradient_checkpointing:
        raise ConfigError(
            "training.gradient_checkpointing is true, but only ESC-Blocks can be computed twice: "
            "set pictures.names_per_picture instead"
        )
    asked = recipe.pictures.names_per_picture or num_names
    if 0 < config.max_classes < asked:
        raise ConfigError(
            f"model.settings.max_classes {config.max_classes} would drop some of the "
            f"{asked} names of a step: set pictures.names_per_picture to fewer"
        )
