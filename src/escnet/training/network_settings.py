"""The settings of a recipe's network: a preset's, and what the recipe changes of them."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError

from escnet.errors import ConfigError
from escnet.structures import preset_of, structure_of
from escnet.towers.network import NetworkConfig
from escnet.training.recipe import ModelSection
from escnet.weights.bounds import check_model_settings
from escnet.weights.config_file import refuse_unusable

AnyConfig = TypeVar("AnyConfig", bound=NetworkConfig)


def config_of(model: ModelSection) -> NetworkConfig:
    """The network's settings.

    Raises:
        ConfigError: If the preset or a setting is unknown or wrong.
    """
    return changed(preset_of(model.preset), model.settings)


def changed(config: AnyConfig, settings: Mapping[str, Any]) -> AnyConfig:
    """The same settings but for some.

    Raises:
        ConfigError: If a setting is unknown or wrong.
    """
    base, kind = config.to_dict(), type(config)
    known = kind.setting_names()
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(
            f"no setting model.settings.{unknown[0]}: choose from {', '.join(sorted(known))}"
        )
    typed = {name: _of_same_type(name, value, base[name]) for name, value in settings.items()}
    values = {**base, **typed}
    check_model_settings(values, "the recipe's model", ConfigError)
    cure = "correct it in model.settings"
    with refuse_unusable("the recipe's model", cure=cure, kind=ConfigError), torch.device("meta"):
        made = kind(**values)
        structure_of(kind.model_type).network(made)
    return made


def _of_same_type(name: str, value: Any, default: Any) -> Any:
    """A setting as the preset's value of it is typed; TOML has no tuples, for one."""
    try:
        as_json = json.dumps(value, default=str)  # as in `recipe.py`
        return TypeAdapter(type(default)).validate_json(as_json, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].lower()
        raise ConfigError(f"model.settings.{name} is {value!r}: {reason}") from error
