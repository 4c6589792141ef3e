"""Recipes: TOML files with everything that a training run depends on.

What every recipe has is here: the network, how a step computes, what is recorded. The sections that
say what is trained, and on what, are the structure's own (`pictures_recipe.py`, and the packages of
other structures); the preset says which structure it is.

Unknown keys and values out of range are errors that name the key. The resolved recipe is saved with
the run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from escnet.errors import ConfigError
from escnet.files import display_path
from escnet.small_file import SmallFile

_RECIPE = SmallFile(
    noun="recipe", error=ConfigError, cure="give a TOML file of sections", most_bytes=2**20
)


class Section(BaseModel):
    """A table of a recipe: it cannot be changed, and knows no other keys than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(Section):
    """The network.

    Attributes:
        preset: Where its settings come from.
        settings: What differs from them.
    """

    preset: str = "mini"
    settings: dict[str, Any] = Field(default_factory=dict)


class TrainingSection(Section):
    """How every step computes, whatever it trains.

    Attributes:
        dtype: What matrix products are computed in; float16 needs a GPU. "auto" is bfloat16, or
            float32 on a processor without instructions for bfloat16, where that takes ten times as
            long.
        gradient_checkpointing: Compute the ESC-Blocks a second time instead of keeping what they
            computed, which saves memory.
        compile: Translate the network with torch.compile; not with `gradient_checkpointing`.
        seed: Of everything that is left to chance.
        save_every: Steps between two saved states.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
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


class Schedule(Section):
    """How long a stage trains, and how fast.

    Attributes:
        steps: Of the stage.
        batch_size: Pictures for each step, of all processes together.
        learning_rate: The peak rate, which each kind of weights has a share of.
        warmup_share: Share of the steps in which the rate rises; then it falls in half a cosine.
        weight_decay: Of what has any.
        gradient_clip: The largest length of a gradient.
        average: Decay of the running mean of the weights, which the stage leaves; 0 for none.
    """

    steps: int = Field(default=500, ge=0)
    batch_size: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.02, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    average: float = Field(default=0.995, ge=0, lt=1)


class RecordsSection(Section):
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


class Recipe(Section):
    """What the training loop reads of every recipe; structures add sections of their own."""

    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    records: RecordsSection = RecordsSection()


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
    return recipe_of(table, display_path(path))


def recipe_of(table: Mapping[str, Any], shown: str = "") -> Recipe:
    """A recipe from its sections, of the kind that its preset's structure is trained by.

    Args:
        table: As TOML or JSON gives them.
        shown: What messages call the recipe.

    Raises:
        ConfigError: If a key is unknown, or a value out of range.
    """
    from escnet.structures import builder_of  # noqa: PLC0415 -- which knows the kinds of recipes

    model = table.get("model")
    preset = model.get("preset") if isinstance(model, Mapping) else None
    kind = builder_of(preset if isinstance(preset, str) else ModelSection().preset).recipe
    try:
        # As JSON, which has lists and strings for tuples and paths, so that strict can mean: no
        # boolean is a number, and no string is either.
        return kind.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(f"recipe {shown}: {_first_fault(error, kind)}") from error


def _apply(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, name = key.split(".")
    if not equals or not key:
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
    if not sections and not isinstance(value, dict | list):
        raise ConfigError(f"override {override!r} is not section.key=value: write it so")
    place[_row(place, name, override) if isinstance(place, list) else name] = value


def _row(place: Sequence[Any], name: str, override: str) -> int:
    """Which of several sections of one kind a key means."""
    if name.isdecimal() and int(name) < len(place):
        return int(name)
    raise ConfigError(f"override {override!r}: no {name} in a list of {len(place)}: count from 0")


def _first_fault(error: ValidationError, kind: type[Recipe]) -> str:
    """The first thing that is wrong, by its key."""
    problems = error.errors()
    # A misspelt key is missing under its right name as well: say which one is wrong.
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    steps = list(_steps(kind, first["loc"]))
    key = ".".join(str(name) for name, _ in steps)
    if first["type"] == "missing":
        return f"{key} is missing: give it"
    if first["type"] == "extra_forbidden":
        return f"no setting {key}: choose from {', '.join(sorted(steps[-1][1].model_fields))}"
    if first["type"] == "value_error":  # of our own validators; those of a section name its key
        joint = "." if isinstance(first["input"], dict) else " "
        return f"{key}{joint}{first['ctx']['error']}".removeprefix(".")
    if first["type"].startswith("union_tag"):
        return f"{key} needs a {first['ctx']['discriminator']}: {first['msg'].lower()}"
    return f"{key} is {first['input']!r}: {first['msg'].lower()}"


def _steps(kind: Any, place: Sequence[int | str]) -> Iterator[tuple[int | str, Any]]:
    """The keys on the way to a place, each with the section that it stands in.

    Where a section is one of several kinds, pydantic puts the kind into the place; it is no key.
    """
    section = kind
    inner: list[Any] = []  # what the value of the last key may be
    for name in place:
        tagged = {_tag_of(one): one for one in inner if _tag_of(one)}
        if name in tagged:
            section, inner = tagged[name], []
            continue
        if len(inner) == 1:
            section, inner = inner[0], []
        yield name, section
        if isinstance(name, str) and name in section.model_fields:
            inner = list(_sections_in(section.model_fields[name].annotation))


def _tag_of(section: Any) -> str | None:
    field = section.model_fields.get("kind")
    return None if field is None else str(get_args(field.annotation)[0])


def _sections_in(annotation: Any) -> Iterator[Any]:
    """The sections that a value may be, or its elements."""
    if hasattr(annotation, "model_fields"):
        yield annotation
        return
    for one in get_args(annotation):
        yield from _sections_in(one)
