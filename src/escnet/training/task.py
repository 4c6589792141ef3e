"""What the one training loop (`loop.py`) needs to know of what it trains.

There is a task for each kind of recipe. A task turns the number of a step into that step's data and
nothing else into it: no state runs from step to step, so that a run can be taken up at any step,
and by any number of processes.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from escnet.towers.network import Network

ParameterGroups = Mapping[tuple[str, float], Mapping[str, nn.Parameter]]


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of every batch a process works on.

    Attributes:
        rank: Which of the processes it is.
        count: How many there are.
        device: Where it computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def of(self, batch_size: int) -> range:
        """The places of a batch that are this process's."""
        return range(
            self.rank * batch_size // self.count, (self.rank + 1) * batch_size // self.count
        )


@dataclass(frozen=True, slots=True)
class Portion:
    """What goes through the network at once.

    Attributes:
        place: Of its first picture in the batch of all processes; chance in the network (dropout)
            is seeded with it, so that it is the same however the batch is shared out.
        content: What the task's `loss` is called with.
    """

    place: int
    content: Any


Batches = Generator[Sequence[Portion], None, None]


@runtime_checkable
class Task(Protocol):
    """A network, its data, and the loss between them.

    Attributes:
        network: What is trained.
        loss: A module with the network in it; from a portion's content to that portion's part of
            the step's loss. The parts of all portions of all processes add up to it.
        groups: What is trained, by the kind of its rate and its weight decay; everything else is
            frozen.
        num_steps: Of the whole run.
        divides: Each step's number of pictures, which the number of processes must divide; 0 for
            a step that every process works on as a whole.
    """

    network: Network
    num_steps: int
    divides: int

    @property
    def loss(self) -> nn.Module: ...

    @property
    def groups(self) -> ParameterGroups: ...

    def identity(self) -> Mapping[str, Any]:
        """What must be equal, beside the recipe, for a saved state to be taken up again."""

    def phase_of(self, step: int) -> tuple[str, int, int]:
        """The name of the phase that a step belongs to, its first step, and its length."""

    def begin(self, step: int) -> None:
        """Put the network's modules into the mode of that step."""

    def rate_factors(self, step: int) -> Mapping[str, float]:
        """For each kind of rate its factor."""

    def batches(self, start: int, share: Share) -> Batches:
        """What a process works on at each step, from that step on; to be closed by who stops."""
