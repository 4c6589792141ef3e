"""A recipe with towers and pictures, ready for the loop: network assembled, data found.

The network is ESC-Net, or CAT-Seg, which is trained in the same way.
"""

from dataclasses import dataclass
from pathlib import Path

from escnet.errors import ConfigError
from escnet.inference.tokens import Tokenize, load_tower_tokenizer
from escnet.model.catseg import CatSeg
from escnet.model.catseg_config import CatSegConfig
from escnet.model.config import EscNetConfig
from escnet.model.escnet import EscNet
from escnet.training.assembly import config_of
from escnet.training.config import Recipe
from escnet.training.data_config import PicturesSection, TowersSection
from escnet.training.pictures_task import PicturesTask
from escnet.training.sources import read_sources
from escnet.training.tagged import TaggedPictures
from escnet.weights.assemble import assemble_clip, with_sam
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
    if recipe.towers is None or recipe.pictures is None:
        raise ConfigError("the recipe has no sections towers and pictures: give both")
    sources = read_sources(recipe.pictures.sources)
    config = config_of(recipe)
    if isinstance(config, CatSegConfig):
        _check_catseg(recipe, recipe.pictures, config, len(sources.names))
        network: EscNet | CatSeg = build_catseg(config, recipe.towers)
    else:
        network = build_clip_network(config, recipe.towers)
    tokenizer = _tokenizer_folder(recipe.towers)
    most = config.text_config.get("max_position_embeddings", _MOST_TOKENS)
    tokenize = load_tower_tokenizer(tokenizer, "clip", most)
    texts = recipe.pictures.texts
    task = PicturesTask(
        network,
        tokenize,
        sources,
        (recipe.pictures, recipe.towers, recipe.training),
        None if texts is None else TaggedPictures.read(texts.root),
    )
    return PicturesRun(task=task, tokenize=tokenize, tokenizer=tokenizer, names=sources.names)


def build_clip_network(config: EscNetConfig, towers: TowersSection) -> EscNet:
    """A network with the towers that a recipe names; what lies between them is untrained.

    Raises:
        ConfigError: If SAM is wanted and not named, or the network has other towers.
        WeightsError: If a part is missing, damaged, or of another shape.
    """
    if config.vision != "clip" or config.text != "clip":
        raise ConfigError(
            f"vision {config.vision!r} with text {config.text!r} are not CLIP's towers: "
            "choose the preset vit-b-16 or vit-l-14"
        )
    if config.sam == "pretrained" and not towers.sam:
        raise ConfigError(
            "towers.sam is missing: name a SAM, or set model.settings.sam to random or none"
        )
    sam = towers.sam if config.sam == "pretrained" else None
    if not towers.clip:
        return with_sam(EscNet(config), [], sam)
    return assemble_clip(config, clip=towers.clip, sam=sam)


def build_catseg(config: CatSegConfig, towers: TowersSection) -> CatSeg:
    """CAT-Seg with the towers that a recipe names; what lies behind them is untrained.

    Raises:
        WeightsError: If a tower is missing, damaged, or of another shape.
    """
    network = CatSeg(config)
    if towers.clip:
        same_towers = EscNetConfig(
            vision_config=config.vision_config,
            vision_options={"taps": list(config.taps)},
            text_config=config.text_config,
            image_size=config.image_size,
            patch_size=config.patch_size,
            joint_dim=config.joint_dim,
            sam="none",
        )
        donor = assemble_clip(same_towers, clip=towers.clip, sam=None)
        network.vision.load_state_dict(donor.vision.state_dict())
        network.text.load_state_dict(donor.text.state_dict())
        network.config.origins = donor.config.origins
    return network


def _check_catseg(
    recipe: Recipe, pictures: PicturesSection, config: CatSegConfig, num_names: int
) -> None:
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
    if pictures.texts is not None and pictures.texts.loss == "binary":
        raise ConfigError(
            "pictures.texts.loss is 'binary', which needs ESC-Net's scale of the correlation: "
            "choose contrastive"
        )
    if 0 < config.max_classes < (pictures.names_per_picture or num_names):
        raise ConfigError(
            f"model.settings.max_classes {config.max_classes} would drop some of the "
            f"{pictures.names_per_picture or num_names} names of a step: "
            "set pictures.names_per_picture to fewer"
        )


def _tokenizer_folder(towers: TowersSection) -> Path:
    source = towers.tokenizer or towers.clip
    if not source:
        raise ConfigError("towers.tokenizer is missing: name CLIP's, or a folder with one")
    return require_local(source)
