"""Recipes: TOML files with everything that a training run depends on.

Unknown keys and values out of range are errors that name the key. The resolved recipe is saved with
the run.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from escnet.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(_Section):
    """The network: a preset, and settings of `EscNetConfig` that differ from it."""

    preset: str = "mini"
    settings: dict[str, Any] = Field(default_factory=dict)


class PartsSection(_Section):
    """Files and folders that the parts of the network come from.

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
            text map), or "everything".
    """

    vit: Path
    efficientnet: Path
    sentence: Path
    sam: Path
    clip_text: Path
    label_names: Path
    start_from: Path | None = None
    start_with: Literal["alignment", "everything"] = "alignment"


class DataSection(_Section):
    """Pictures with label maps, in the folder format.

    Attributes:
        train: The folder to train on.
        validate_on: The folder whose scores are reported; never trained on.
        source_weights: How often a picture of each source is drawn, relative to the others.
        synonyms: Other texts for a class name; every other time one of them stands for it.
        withheld: Class names that are never shown as labels; their pixels give no loss.
    """

    train: Path
    validate_on: Path | None = None
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    withheld: tuple[str, ...] = ()


class TrainingSection(_Section):
    """The schedule.

    Attributes:
        alignment_steps: Steps that train the correlation alone, before the blocks take part.
        steps: Steps of the whole network after that.
        batch_size: Pictures for each step of the whole network.
        alignment_batch_size: Pictures for each alignment step.
        names_per_picture: Class names for each picture: those it shows, and others of its source.
        learning_rate: Peak rate of the blocks and the decoder, and of the alignment.
        head_rate: Factor of the rate for the map to the joint space, after the alignment.
        text_rate: Factor of the rate for the text tower's last map.
        sam_rate: Factor of the rate for SAM's transformer.
        evidence_weight: Weight of the loss on the maps that the blocks read their prompts off
            (docs/paper-notes.md, note 13).
        binary_weight: Weight of the binary cross-entropy (`loss.py`).
        cross_weight: Weight of the cross-entropy.
        balance: How much the cross-entropy favours names with few pixels.
        average: Decay of the running mean of the weights that is kept in the end; 0 for none.
    """

    alignment_steps: int = Field(default=1000, ge=0)
    steps: int = Field(default=500, ge=0)
    batch_size: int = Field(default=4, ge=1)
    alignment_batch_size: int = Field(default=12, ge=1)
    names_per_picture: int = Field(default=12, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    head_rate: float = Field(default=0.2, ge=0)
    text_rate: float = Field(default=0.1, ge=0)
    sam_rate: float = Field(default=0.1, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.02, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    evidence_weight: float = Field(default=0.3, ge=0)
    binary_weight: float = Field(default=1.0, ge=0)
    cross_weight: float = Field(default=1.0, ge=0)
    balance: float = Field(default=0.0, ge=0, le=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    average: float = Field(default=0.995, ge=0, lt=1)
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    save_every: int = Field(default=100, ge=1)


class Recipe(_Section):
    """A whole training run."""

    model: ModelSection
    parts: PartsSection
    data: DataSection
    training: TrainingSection = TrainingSection()


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from its file.

    Relative paths in it are relative to the current folder.

    Args:
        path: A TOML file.
        overrides: "section.key=value", where the value is TOML; a bare word is a string.

    Raises:
        ConfigError: If the file cannot be read, or a key is unknown, or a value out of range.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"recipe {path} cannot be read ({error}): give a TOML file") from error
    for override in overrides:
        _apply(table, override)
    return _checked(table, str(path))


def _apply(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, name = key.split(".")
    if not equals or not sections:
        raise ConfigError(f"override {override!r} is not section.key=value: write it so")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"override {override!r}: {section} is a value and has no keys")
    try:
        table[name] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[name] = text


def _checked(table: Mapping[str, Any], shown: str) -> Recipe:
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            problem = f"{key} is missing: give it"
        elif first["type"] == "extra_forbidden":
            problem = f"no setting {key}: choose from {', '.join(_settings_beside(first['loc']))}"
        else:
            problem = f"{key} is {first['input']!r}: {first['msg'].lower()}"
        raise ConfigError(f"recipe {shown}: {problem}") from error


def _settings_beside(place: Sequence[int | str]) -> list[str]:
    """The settings of the section that a key stands in, or the sections."""
    section: Any = Recipe
    for name in place[:-1]:
        section = section.model_fields[name].annotation
    return sorted(section.model_fields)
