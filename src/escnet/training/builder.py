"""How a structure is trained: the kind of its recipes, and the plan that is made of one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escnet.training.recipe import Recipe
from escnet.training.stage import Plan


@dataclass(frozen=True, slots=True)
class Builder:
    """What the registry of structures (`escnet.structures`) gives for a structure's training.

    Attributes:
        recipe: The kind of its recipes.
        plan: From such a recipe, and the folder where what frozen networks say is kept, to the plan
            of a run. It raises a ConfigError, DatasetError or WeightsError where the recipe, the
            data or a part of the network is wrong.
    """

    recipe: type[Recipe]
    plan: Callable[[Any, Path], Plan]
