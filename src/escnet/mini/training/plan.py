"""A recipe of the built-in model's kind, ready for the loop: network, data, stages."""

from hashlib import sha256
from pathlib import Path

from escnet.data.folder import FolderDataset
from escnet.files import make_folder, replace_file
from escnet.inference.methods.tokens import Tokenize
from escnet.inference.names.glued_words import WORDS_FILE
from escnet.mini.network import Mini
from escnet.mini.training.alignment import AlignmentStage
from escnet.mini.training.captions import CaptionedPictures
from escnet.mini.training.data import MiniData
from escnet.mini.training.detail import DetailStage
from escnet.mini.training.network import NetworkStage
from escnet.mini.training.parts import (
    build_network,
    known_words,
    load_part_tokenizer,
    tokenizer_source,
)
from escnet.mini.training.presence import PresenceStage
from escnet.mini.training.recipe import (
    AlignmentSection,
    DetailSection,
    MiniRecipe,
    NetworkSection,
    StageSection,
)
from escnet.mini.training.texts import NameTexts, sentence_vectors
from escnet.training.pictures_recipe import SourceSection
from escnet.training.sources import FOLDER, Sources, read_sources
from escnet.training.stage import Plan, Stage, parameter_names
from escnet.weights.tensor_file import tensors_hash
from escnet.weights.tokenizer_files import TOKENIZER_FILE, tokenizer_json

_KEY_LENGTH = 16
_SEEDS = 1000  # between those of two stages


def plan_mini(recipe: MiniRecipe, cache: Path) -> Plan:
    """The run that a recipe describes, before its first step.

    Args:
        recipe: With parts, data and stages.
        cache: Where what frozen networks say of pictures is kept, and the tokenizer with its words.

    Raises:
        ConfigError: If a setting is wrong.
        DatasetError: If the data are not as the recipe says.
        OutputError: If the cache cannot be written.
        WeightsError: If a part of the network is missing or damaged.
    """
    section = recipe.data
    roots = [SourceSection(data=FOLDER, root=root, **section.reading()) for root in section.train]
    sources = read_sources(roots, section.left_out).without(section.withheld)
    sources = sources.incomplete(section.incomplete)
    validate_on = None
    if section.validate_on is not None:
        validate_on = FolderDataset.read(section.validate_on, section.options())
    network = build_network(recipe)
    tokenizer = _write_tokenizer(recipe, sources, cache / "tokenizers")
    tokenize = load_part_tokenizer(tokenizer)
    names = NameTexts.of(sources.names, section.synonyms)
    captions = None
    if section.captions is not None:
        captions = CaptionedPictures.read(section.captions, sources, names)
    data = MiniData(
        sources=sources,
        names=names,
        sentences=sentence_vectors(network, tokenize, names.texts),
        captions=captions,
        cache=cache,
        workers=section.workers,
    )
    seed = recipe.training.seed
    stages = [
        _stage(network, data, one, tokenize, seed=seed + _SEEDS * index)
        for index, one in enumerate(recipe.stages)
    ]
    trained = set[str]().union(*(parameter_names(stage.groups) for stage in stages))
    frozen = {name: p for name, p in network.named_parameters() if name not in trained}
    shown = [name for name in sources.names if name not in section.withheld]
    return Plan(
        network=network,
        stages=stages,
        tokenize=tokenize,
        tokenizer=tokenizer,
        names=tuple(dict.fromkeys((*network.config.trained_on, *shown))),
        folders=sources.folders,
        validate_on=validate_on,
        identity={
            "network": network.config.to_dict(),
            "frozen weights": tensors_hash(frozen),
            **sources.identity(),
            "texts": None if captions is None else captions.content_hash(),
        },
    )


def _stage(
    network: Mini, data: MiniData, section: StageSection, tokenize: Tokenize, *, seed: int
) -> Stage:
    if isinstance(section, AlignmentSection):
        return AlignmentStage(network, data, section, seed=seed)
    if isinstance(section, NetworkSection):
        return NetworkStage(network, data, section, seed=seed)
    if isinstance(section, DetailSection):
        return DetailStage(network, data, section, seed=seed)
    return PresenceStage(network, data, section, tokenize, seed=seed)


def _write_tokenizer(recipe: MiniRecipe, sources: Sources, folder: Path) -> Path:
    """The tokenizer that the checkpoint will hold, with the words that it splits glued names by."""
    content = tokenizer_json(tokenizer_source(recipe.parts))
    words = ("\n".join(known_words(recipe.parts, sources.names)) + "\n").encode()
    key = sha256(content + words).hexdigest()[:_KEY_LENGTH]
    own = make_folder(folder / key)
    replace_file(own / TOKENIZER_FILE, content)
    replace_file(own / WORDS_FILE, words)
    return own
