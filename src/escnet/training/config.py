"""Recipes: TOML files with everything that a training run depends on.

There are two kinds. One trains the built-in model's kind of network, whose frozen towers are run
once: it has the sections `parts` and `data`. The other trains on pictures as they come off the
disk, towers included, as the paper does: it has `towers` and `pictures`.

Unknown keys and values out of range are errors that name the key. The resolved recipe is saved with
the run.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from escnet.errors import ConfigError
from escnet.files import shown_path
from escnet.small_file import SmallFile
from escnet.training.data_config import PicturesSection, TowersSection

_RECIPE = SmallFile(
    noun="recipe", error=ConfigError, cure="give a TOML file of sections", most_bytes=2**20
)

# What the built-in model's kind of network is put together from.
PART_FILES = ("vit", "efficientnet", "sentence", "sam", "clip_text", "label_names")


# The settings of training that a recipe with towers and pictures uses.
_TRAINING_ON_PICTURES = frozenset(
    {
        "accumulation",
        "average",
        "batch_size",
        "compile",
        "dtype",
        "evidence_weight",
        "gradient_checkpointing",
        "gradient_clip",
        "learning_rate",
        "save_every",
        "seed",
        "steps",
        "warmup_share",
        "weight_decay",
    }
)


# Those that a recipe with a detail uses.
_TRAINING_OF_DETAIL = frozenset(
    {
        "alignment_steps",
        "average",
        "balance",
        "batch_size",
        "binary_weight",
        "cross_weight",
        "dropout",
        "dtype",
        "gradient_clip",
        "learning_rate",
        "overlap_weight",
        "save_every",
        "seed",
        "steps",
        "tower_rate",
        "warmup_share",
        "weight_decay",
    }
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(_Section):
    """The network: a preset, and settings of `EscNetConfig` that differ from it."""

    preset: str = "mini"
    settings: dict[str, Any] = Field(default_factory=dict)


class PartsSection(_Section):
    """Files and folders that the parts of the network come from.

    All of them, unless the network starts with everything of an earlier checkpoint.

    Attributes:
        vit: Tensors of a transformers `Dinov2Model`.
        efficientnet: The published EfficientNet-Lite2 for PyTorch.
        sentence: Folder of the sentence encoder, with its tokenizer.
        sam: Any published form of SAM.
        clip_text: Folder of published CLIP text vectors; see `text_space.py`.
        label_names: texts.json of the tagged pictures, which names ImageNet's labels.
        start_from: Checkpoint of an earlier run that this one starts from, so that several runs
            can share one alignment.
        start_with: What is taken over from it: the "alignment" (the map to the joint space and the
            text map), or "everything" that is trained.
        sam_embeddings: Folder of what SAM's image encoder makes of some of the pictures, to which
            the map to SAM's width is fitted before the first step (`sam_width.py`); needs an
            aligned `start_from`, of which the SAM blocks are not taken over.
    """

    vit: Path | None = None
    efficientnet: Path | None = None
    sentence: Path | None = None
    sam: Path | None = None
    clip_text: Path | None = None
    label_names: Path | None = None
    start_from: Path | None = None
    start_with: Literal["alignment", "everything"] = "alignment"
    sam_embeddings: Path | None = None

    @property
    def is_whole_checkpoint(self) -> bool:
        """Whether the network is that of `start_from`, with nothing else to be put together."""
        return self.start_from is not None and self.start_with == "everything" and not self._given

    @property
    def _given(self) -> list[str]:
        return [name for name in PART_FILES if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _all_or_none(self) -> "PartsSection":
        for name in PART_FILES:
            if not self.is_whole_checkpoint and getattr(self, name) is None:
                raise ValueError(
                    f"{name} is missing: give all parts, or start_from with "
                    'start_with = "everything" and no part'
                )
        if self.sam_embeddings is not None and self.start_from is None:
            raise ValueError("sam_embeddings is given without start_from: align first")
        return self


class CaptionsSection(_Section):
    """Pictures with texts but no label maps, whose loss on the correlation is added.

    Attributes:
        root: Folder with images/ and texts.json, {STEM: [text, ...]}.
        names_of: The source of the labelled pictures whose class names are looked for in the texts.
        weight: Factor of their loss.
        batch_size: Pictures for each step.
        num_others: Class names that a picture's texts do not say, for each picture.
        peak_share: The share of a map's patches that stands for the map.
    """

    root: Path
    names_of: str
    weight: float = Field(default=1.0, ge=0)
    batch_size: int = Field(default=8, ge=1)
    num_others: int = Field(default=24, ge=0)
    peak_share: float = Field(default=0.05, gt=0, le=1)


class ViewsSection(_Section):
    """What is shown of a labelled picture (`random_view.py`).

    Attributes:
        whole: How often the whole picture is.
        least_area: Else a part of it, with at least this share of its area.
        stretch: At most this many times wider or higher, relative to the picture.
        colour: How often each of brightness, contrast, saturation and hue is changed.
    """

    whole: float = Field(default=0.4, ge=0, le=1)
    least_area: float = Field(default=0.25, gt=0, le=1)
    stretch: float = Field(default=1.3, ge=1)
    colour: float = Field(default=0.3, ge=0, le=1)


class DetailSection(_Section):
    """The training of the detail branch alone, behind a finished network (`detail.py`).

    Attributes:
        side: Of the square that a view is brought to, in pixels; a view with half the area of the
            picture is seen at the scale of the whole where this is 0.7 of `image_size`.
        most_names: Class names for each picture, those that it shows among them.
        disturbed: How often the finished network's logits are disturbed, as it makes fewer mistakes
            on the pictures that it was trained on than the branch will have to mend.
        pasted: How often half of the names that another part of the same source shows are pasted
            into a part (`detail_content.py`).
        harder: Sources whose parts are disturbed and pasted into; None for all. One with few
            pictures for each of many names is better left out.
        most_kept: Share of what a name gains that it keeps in the end, at most: beside disturbed
            logits, which are weaker than others, it learns to gain too much.
        enough_pictures: So many have to show a name for it to keep that; of fewer, in proportion
            less. 0 for no such condition.
    """

    side: int = Field(default=352, ge=32, multiple_of=32)
    most_names: int = Field(default=16, ge=2)
    disturbed: float = Field(default=0.7, ge=0, le=1)
    pasted: float = Field(default=0.0, ge=0, le=1)
    harder: tuple[str, ...] | None = None
    most_kept: float = Field(default=1.0, gt=0, le=1)
    enough_pictures: int = Field(default=0, ge=0)


class DataSection(_Section):
    """Pictures with label maps, in the folder format.

    Attributes:
        train: The folder to train on.
        validate_on: The folder whose scores are reported; never trained on.
        source_weights: How often a picture of each source is drawn, relative to the others.
        rarity: Within a source, a name counts the number of pictures that show it to the power of
            minus this, and a picture is drawn as often as its names count: 0 draws all alike.
        views: Show random parts of the pictures, for which the image nets run in every step;
            without it whole pictures are shown, for which they run once.
        synonyms: Other texts for a class name; every other time one of them stands for it.
        withheld: Class names that are never shown as labels; their pixels give no loss.
        captions: Pictures with texts, if there are any; they may speak of what is withheld.
        detail: Train the detail branch and nothing else.
    """

    train: Path
    validate_on: Path | None = None
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    rarity: float = Field(default=0.0, ge=0, le=1)
    views: ViewsSection | None = None
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    captions: CaptionsSection | None = None
    detail: DetailSection | None = None


class TrainingSection(_Section):
    """The schedule.

    Attributes:
        alignment_steps: Steps that train the correlation alone, before the blocks take part.
        alignment_labels: What these see of the label maps: all of them ("maps"), or only which
            names a picture shows ("names"), from which the correlation learns as CLIP's does.
        steps: Steps of the whole network after that.
        batch_size: Pictures for each step of the whole network.
        alignment_batch_size: Pictures for each alignment step.
        names_per_picture: Class names for each picture: those it shows, and others of its source.
        learning_rate: Peak rate of the blocks and the decoder, and of the alignment.
        head_rate: Factor of the rate for the map to the joint space, after the alignment.
        text_rate: Factor of the rate for the text tower's last map.
        sam_rate: Factor of the rate for SAM's transformer.
        tower_rate: Factor of the rate for the image nets, which needs `data.views`; 0 freezes them.
            With `data.detail` they are frozen, and it is the detail branch's own net that is meant.
        vit_blocks: The last blocks of the ViT that are trained with them.
        correlation_weight: In steps of the whole network, weight of the alignment's loss, which
            weighs all names against each other that a picture's source annotates.
        evidence_weight: Weight of the loss on the maps that the blocks read their prompts off
            (docs/paper-notes.md, note 13).
        binary_weight: Weight of the binary cross-entropy (`loss.py`).
        cross_weight: Weight of the cross-entropy.
        balance: How much the cross-entropy favours names with few pixels.
        overlap_weight: Weight of the overlap loss, which counts every shown name alike.
        average: Decay of the running mean of the weights that is kept in the end; 0 for none.
        dtype: What matrix products are computed in; float16 needs a GPU.
        accumulation: Passes that a step is split into in each process, which saves memory; with
            `parts` every picture is a pass of its own.
        gradient_checkpointing: Compute the ESC-Blocks a second time instead of keeping what they
            computed, which saves memory.
        compile: Translate the network with torch.compile; not with `gradient_checkpointing`.
        dropout: How often the map to the joint space misses a channel of a feature map; with
            `data.detail` the detail branch does.
        save_every: Steps between two saved states.
    """

    alignment_steps: int = Field(default=1000, ge=0)
    alignment_labels: Literal["maps", "names"] = "maps"
    steps: int = Field(default=500, ge=0)
    batch_size: int = Field(default=4, ge=1)
    alignment_batch_size: int = Field(default=12, ge=1)
    names_per_picture: int = Field(default=12, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    head_rate: float = Field(default=0.2, ge=0)
    text_rate: float = Field(default=0.1, ge=0)
    sam_rate: float = Field(default=0.1, ge=0)
    tower_rate: float = Field(default=0.0, ge=0)
    vit_blocks: int = Field(default=6, ge=0)
    correlation_weight: float = Field(default=0.0, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.02, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    evidence_weight: float = Field(default=0.3, ge=0)
    binary_weight: float = Field(default=1.0, ge=0)
    cross_weight: float = Field(default=1.0, ge=0)
    balance: float = Field(default=0.0, ge=0, le=1)
    overlap_weight: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    average: float = Field(default=0.995, ge=0, lt=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    accumulation: int = Field(default=1, ge=1)
    gradient_checkpointing: bool = False
    compile: bool = False
    seed: int = Field(default=0, ge=0)
    save_every: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _compiled_or_twice(self) -> "TrainingSection":
        if self.compile and self.gradient_checkpointing:
            raise ValueError(
                "gradient_checkpointing and training.compile are both true, but torch.compile "
                "cannot translate blocks that are computed twice: leave one of them out"
            )
        return self


class RecordsSection(_Section):
    """What is kept of a run and shown of it; nothing here changes a loss.

    Attributes:
        keep_states: The newest states that are kept, beside the one with the best score.
        validate_every: Steps between two scores on the validation folder; 0 for the end alone.
        validate_pictures: Of the folder, this many pictures, evenly spread, are scored on the way;
            0 for all.
        sheet_pictures: Pictures of the validation folder that are shown beside their label maps;
            0 for no sheets.
        tensorboard: Write events for TensorBoard as well.
    """

    keep_states: int = Field(default=2, ge=1)
    validate_every: int = Field(default=0, ge=0)
    validate_pictures: int = Field(default=0, ge=0)
    sheet_pictures: int = Field(default=6, ge=0)
    tensorboard: bool = False


class Recipe(_Section):
    """A whole training run."""

    model: ModelSection = ModelSection()
    parts: PartsSection | None = None
    data: DataSection | None = None
    towers: TowersSection | None = None
    pictures: PicturesSection | None = None
    training: TrainingSection = TrainingSection()
    records: RecordsSection = RecordsSection()

    @model_validator(mode="after")
    def _one_kind(self) -> "Recipe":
        given = {
            name for name in ("parts", "data", "towers", "pictures") if getattr(self, name, None)
        }
        if given not in ({"parts", "data"}, {"towers", "pictures"}):
            raise ValueError(
                f"the sections are {', '.join(sorted(given)) or 'none'}: give either parts and "
                "data, or towers and pictures"
            )
        if self.data is not None and self.data.views is None and self.training.tower_rate:
            raise ValueError(
                f"training.tower_rate is {self.training.tower_rate}, but the image nets run once: "
                "give data.views"
            )
        return self

    @model_validator(mode="after")
    def _detail_alone(self) -> "Recipe":
        """The detail branch learns from views, and behind a network that is finished."""
        if self.data is None or self.data.detail is None or self.parts is None:
            return self
        if self.data.views is None:
            raise ValueError("data.views is missing: data.detail learns from parts of pictures")
        if not self.parts.is_whole_checkpoint:
            raise ValueError(
                "parts are to be put together, but data.detail needs a finished network: give "
                'start_from with start_with = "everything" and no part'
            )
        idle = {
            "data.captions": self.data.captions,
            "parts.sam_embeddings": self.parts.sam_embeddings,
        }
        for name, value in idle.items():
            if value is not None:
                raise ValueError(
                    f"{name} is given, but data.detail has no use for it: leave it out"
                )
        if self.training.alignment_steps:
            raise ValueError(
                f"training.alignment_steps is {self.training.alignment_steps}, but data.detail "
                "aligns nothing: set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _nothing_idle(self) -> "Recipe":
        """A setting that would change nothing is a mistake, such as one of another kind's."""
        if self.pictures is not None:
            used, who = _TRAINING_ON_PICTURES, "only recipes with parts use it"
        elif self.data is not None and self.data.detail is not None:
            used, who = _TRAINING_OF_DETAIL, "data.detail has no use for it"
        else:
            return self
        for name, field in TrainingSection.model_fields.items():
            value = getattr(self.training, name)
            if name not in used and value != field.default:
                has_own = self.pictures is not None and name in PicturesSection.model_fields
                also = f", or set pictures.{name}" if has_own else ""
                raise ValueError(f"training.{name} is {value!r}, but {who}: leave it out{also}")
        return self


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from its file.

    Relative paths in it are relative to the current folder.

    Args:
        path: A TOML file.
        overrides: "section.key=value", where the value is TOML; a bare word is a string.

    Raises:
        ConfigError: If the file cannot be read, or a key is unknown, or a value out of range.
    """
    table = _RECIPE.toml_of(path)
    for override in overrides:
        _apply(table, override)
    return _checked(table, shown_path(path))


def _apply(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, name = key.split(".")
    if not equals or not sections:
        raise ConfigError(f"override {override!r} is not section.key=value: write it so")
    place: Any = table
    for section in sections:
        place = (
            place[_row(place, section, override)]
            if isinstance(place, list)
            else (place.setdefault(section, {}))
        )
        if not isinstance(place, dict | list):
            raise ConfigError(f"override {override!r}: {section} is a value and has no keys")
    try:
        value = _RECIPE.parsed_toml(f"value = {text}", f"override {override!r:.60}")["value"]
    except ConfigError:
        value = text  # a bare word
    place[_row(place, name, override) if isinstance(place, list) else name] = value


def _row(place: Sequence[Any], name: str, override: str) -> int:
    """Which of several sections of one kind a key means."""
    if name.isdecimal() and int(name) < len(place):
        return int(name)
    raise ConfigError(f"override {override!r}: no {name} in a list of {len(place)}: count from 0")


def _checked(table: Mapping[str, Any], shown: str) -> Recipe:
    try:
        # As JSON, which has lists and strings for tuples and paths, so that strict can mean: no
        # boolean is a number, and no string is either.
        return Recipe.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(f"recipe {shown}: {_told(error)}") from error


def _told(error: ValidationError) -> str:
    found = error.errors()
    # A misspelt key is missing under its right name as well: say which one is wrong.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key} is missing: give it"
    if first["type"] == "extra_forbidden":
        return f"no setting {key}: choose from {', '.join(_settings_beside(first['loc']))}"
    if first["type"] == "value_error":  # of our own validators, which name their keys
        return f"{key}.{first['ctx']['error']}".removeprefix(".")
    return f"{key} is {first['input']!r}: {first['msg'].lower()}"


def _settings_beside(place: Sequence[int | str]) -> list[str]:
    """The settings of the section that a key stands in, or the sections."""
    section: Any = Recipe
    for name in place[:-1]:
        if isinstance(name, str):  # a number counts within a list of sections
            section = _section_of(section.model_fields[name].annotation)
    return sorted(section.model_fields)


def _section_of(annotation: Any) -> Any:
    """The section itself, which may be optional, or one of many."""
    while not hasattr(annotation, "model_fields"):
        annotation = next(one for one in get_args(annotation) if one not in (type(None), Ellipsis))
    return annotation
