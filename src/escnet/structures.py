"""The structures that a checkpoint can be of: the one module that knows all of them.

A checkpoint's config.json names its structure by `model_type`. This module finds the network, its
settings and the method for that name, and the settings of a new network for a preset's name. A new
structure is a package beside `catseg` and an entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from escnet.catseg.config import CATSEG_PRESETS, CatSegConfig
from escnet.catseg.network import CatSeg
from escnet.errors import WeightsError
from escnet.mini.config import MINI_PRESETS, MiniConfig
from escnet.mini.network import Mini
from escnet.model.config import PRESETS, EscNetConfig
from escnet.model.escnet import EscNet
from escnet.towers.network import Network, NetworkConfig, of_preset

if TYPE_CHECKING:
    from escnet.inference.methods.method import LoadedMethod
    from escnet.inference.methods.network_method import NetworkMethod
    from escnet.training.stage import Builder

_CAT_SEG = "cat-seg-"  # before the names of CAT-Seg's presets


@runtime_checkable
class LoadMethod(Protocol):
    """Loads a checkpoint's method; errors as `escnet.inference.methods.load.load_method`."""

    def __call__(
        self, folder: Path, *, device: str, dtype: str, memory_budget: int
    ) -> "LoadedMethod": ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What the rest needs to know of a structure.

    Attributes:
        network: Its network, whose `config_class` has its settings and its `model_type`.
        presets: Settings of new networks, by name.
        load_method: Its method, from a checkpoint's folder.
        method: The class of its method, which is only imported when it is asked for.
        builder: What trains it.
    """

    network: type[Network]
    presets: Mapping[str, Callable[[], NetworkConfig]]
    load_method: LoadMethod
    method: Callable[[], "type[NetworkMethod[Any]]"]
    builder: Callable[[], "Builder"]


def structure_of(model_type: str | None) -> Structure:
    """The structure that a checkpoint calls its own.

    Raises:
        WeightsError: If there is none of that name.
    """
    if model_type is None or model_type not in STRUCTURES:
        raise WeightsError(
            f"there is no structure {model_type!r}: choose from {', '.join(sorted(STRUCTURES))}"
        )
    return STRUCTURES[model_type]


def preset_of(name: str) -> NetworkConfig:
    """The settings of a preset of any structure.

    Raises:
        ConfigError: If there is none of that name.
    """
    return _structure_with(name).presets[name]()


def builder_of(preset: str) -> "Builder":
    """What trains the network of a preset.

    Raises:
        ConfigError: If there is none of that name.
    """
    return _structure_with(preset).builder()


def _structure_with(preset: str) -> Structure:
    return of_preset(preset, {name: one for one in STRUCTURES.values() for name in one.presets})


def _load_esc_net(folder: Path, *, device: str, dtype: str, memory_budget: int) -> "LoadedMethod":
    from escnet.inference.methods.esc_method import load_esc_method
    from escnet.inference.methods.method import LoadedMethod

    method, digest = load_esc_method(
        folder, device=device, dtype=dtype, memory_budget=memory_budget
    )
    return LoadedMethod(method, digest, method.share_prior)


def _load_catseg(folder: Path, *, device: str, dtype: str, memory_budget: int) -> "LoadedMethod":
    from escnet.catseg.method import load_catseg_method
    from escnet.inference.methods.method import LoadedMethod

    return LoadedMethod(
        *load_catseg_method(folder, device=device, dtype=dtype, memory_budget=memory_budget)
    )


def _load_mini(folder: Path, *, device: str, dtype: str, memory_budget: int) -> "LoadedMethod":
    from escnet.inference.methods.method import LoadedMethod
    from escnet.mini.method import load_mini_method

    method, digest = load_mini_method(
        folder, device=device, dtype=dtype, memory_budget=memory_budget
    )
    return LoadedMethod(method, digest, method.share_prior, method.rest_rule)


def _esc_method() -> "type[NetworkMethod[Any]]":
    from escnet.inference.methods.esc_method import EscMethod

    return EscMethod


def _catseg_method() -> "type[NetworkMethod[Any]]":
    from escnet.catseg.method import CatSegMethod

    return CatSegMethod


def _mini_method() -> "type[NetworkMethod[Any]]":
    from escnet.mini.method import MiniMethod

    return MiniMethod


def _esc_builder() -> "Builder":
    from escnet.training.pictures_plan import build_esc_net, plan_pictures
    from escnet.training.pictures_recipe import PicturesRecipe
    from escnet.training.stage import Builder

    return Builder(PicturesRecipe, partial(plan_pictures, build=build_esc_net))


def _catseg_builder() -> "Builder":
    from escnet.catseg.training import build_for_recipe
    from escnet.training.pictures_plan import plan_pictures
    from escnet.training.pictures_recipe import PicturesRecipe
    from escnet.training.stage import Builder

    return Builder(PicturesRecipe, partial(plan_pictures, build=build_for_recipe))


def _mini_builder() -> "Builder":
    from escnet.mini.training.plan import plan_mini
    from escnet.mini.training.recipe import MiniRecipe
    from escnet.training.stage import Builder

    return Builder(MiniRecipe, plan_mini)


STRUCTURES: Mapping[str, Structure] = {
    EscNetConfig.model_type: Structure(
        network=EscNet,
        presets=PRESETS,
        load_method=_load_esc_net,
        method=_esc_method,
        builder=_esc_builder,
    ),
    CatSegConfig.model_type: Structure(
        network=CatSeg,
        presets={f"{_CAT_SEG}{name}": make for name, make in CATSEG_PRESETS.items()},
        load_method=_load_catseg,
        method=_catseg_method,
        builder=_catseg_builder,
    ),
    MiniConfig.model_type: Structure(
        network=Mini,
        presets=MINI_PRESETS,
        load_method=_load_mini,
        method=_mini_method,
        builder=_mini_builder,
    ),
}
