"""What the one training loop (`loop.py`) runs: stages, one after the other.

A stage names what it trains and turns the number of a step into that step's pictures, and nothing
else into them: no state runs from step to step, so that a run can be taken up at any step, by any
number of processes. What a stage needs of the stages before it, it makes in `begin`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from escnet.data.folder import FolderDataset
from escnet.inference.methods.tokens import Tokenize
from escnet.towers.network import Network
from escnet.training.processes import Share
from escnet.training.recipe import Recipe, Schedule

ParameterGroups = Mapping[tuple[str, float], Mapping[str, nn.Parameter]]


@dataclass(frozen=True, slots=True)
class Microbatch:
    """What goes through the network at once.

    Attributes:
        place: Of its first picture in the batch of all processes; chance in the network (dropout)
            is seeded with it, so that it is the same however the batch is shared out.
        batch: What the stage's loss is called with.
    """

    place: int
    batch: Any


Batches = Generator[Sequence[Microbatch], None, None]


class Stage(ABC):
    """A part of a run: what is trained in it, on what, and by which loss.

    Attributes:
        name: Of the stage, in the log.
        schedule: How long it trains, and how fast.
        groups: What is trained, by the kind of its rate and its weight decay; everything else is
            frozen.
        rates: For each kind of rate its factor.
        kept: Of the weights that the stage leaves, the share that is as it was at its beginning.
    """

    name: str
    schedule: Schedule
    groups: ParameterGroups
    rates: Mapping[str, float]
    kept: float = 0.0

    @abstractmethod
    def begin(self) -> nn.Module:
        """Make everything ready, behind the stages before.

        Returns:
            The loss: a module with the network in it, from a microbatch's batch to its part of the
            step's loss. The parts of all microbatches of all processes add up to it.
        """

    @abstractmethod
    def set_mode(self) -> None:
        """Put the network's modules into the mode that they train in."""

    @abstractmethod
    def batches(self, start: int, share: Share) -> Batches:
        """What a process works on at each step, from that step of the stage on.

        It is to be closed by who stops.
        """

    def finish(self) -> None:  # noqa: B027 -- most stages leave the weights as trained
        """Give what was trained its last form, after the last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a recipe becomes before the first step.

    Attributes:
        network: What is trained.
        stages: In their order; one at least.
        tokenize: Of the network's text tower.
        tokenizer: Folder with the tokenizer's files, which the checkpoint will hold.
        names: Class names that the network is shown labelled.
        folders: Folders of labelled pictures that it is trained on.
        validate_on: The one whose scores are reported, if there is one.
        identity: What must be equal, beside the recipe, for a saved state to be taken up again.
    """

    network: Network
    stages: Sequence[Stage]
    tokenize: Tokenize
    tokenizer: Path
    names: tuple[str, ...]
    folders: Sequence[FolderDataset]
    validate_on: FolderDataset | None
    identity: Mapping[str, Any]


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


def groups_by_kind(
    network: nn.Module,
    kind_of: Callable[[str], str | None],
    decay_of: Callable[[str, nn.Parameter], float],
) -> ParameterGroups:
    """The parameters that have a kind of rate, by it and by weight decay.

    Args:
        network: Whose they are.
        kind_of: The kind of a parameter, by its name; None for those that are not trained.
        decay_of: Its weight decay.
    """
    groups: dict[tuple[str, float], dict[str, nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        kind = kind_of(name)
        if kind is not None:
            groups.setdefault((kind, decay_of(name, parameter)), {})[name] = parameter
    return groups


def parameter_names(groups: ParameterGroups) -> set[str]:
    """The names of all parameters in some groups."""
    return {name for group in groups.values() for name in group}


def cosine_share(place: float, warmup: float) -> float:
    """The share of the peak rate: up in a line, down in half a cosine.

    Args:
        place: In the schedule, from 0 to 1.
        warmup: Where the peak is.
    """
    if place < warmup:
        return (place + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (place - warmup) / (1 - warmup)))


def average_decay(decay: float, step: int) -> float:
    """The decay of the running mean, smaller at first: the mean must not remember the start long.

    Args:
        decay: In the long run.
        step: Steps done in this stage.
    """
    return min(decay, (1 + step) / (10 + step))
