"""Where the time of a run's steps goes, and how much of it is left."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_SMOOTHED = 50  # steps whose mean loss is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How a run stands after a step.

    Attributes:
        step: The step, counted through all stages.
        num_steps: Of the run.
        stage: Name of the stage.
        loss: The mean of the last steps' losses.
        rate: The peak group's learning rate.
        seconds: Since the run was started or taken up.
        remaining: Seconds that the steps to come will take, at the pace so far.
        waiting: The share of the time that went into waiting for data.
        miou: The newest score on the validation pictures, if there is one.
    """

    step: int
    num_steps: int
    stage: str
    loss: float
    rate: float
    seconds: float
    remaining: float
    waiting: float
    miou: float | None


class Pace:
    """A clock of steps.

    Args:
        first: The step that the run starts from.
        num_steps: The step that it ends with.
    """

    def __init__(self, first: int, num_steps: int) -> None:
        self.miou: float | None = None
        self._first, self._num_steps = first, num_steps
        self._begun = time.monotonic()
        self._losses: list[float] = []
        self._waited = self._worked = self._last_wait = self._last = 0.0

    def start(self) -> None:
        """A step begins with waiting for its data."""
        self._mark = time.monotonic()

    def got_data(self) -> None:
        """The data are there."""
        self._last_wait = time.monotonic() - self._mark

    def finish(self, loss: float) -> None:
        """The step is done, and had that loss."""
        self._last = time.monotonic() - self._mark
        self._waited += self._last_wait
        self._worked += self._last
        self._losses = [*self._losses[1 - _SMOOTHED :], loss]

    def last(self) -> dict[str, float]:
        """Seconds of the last step, and the share of them that it waited for data."""
        return {
            "seconds": round(self._last, 4),
            "waiting": round(self._last_wait / max(self._last, 1e-9), 4),
        }

    def report(self, step: int, entry: Mapping[str, Any]) -> StepReport:
        """How the run stands.

        Args:
            step: The last step.
            entry: What the log says of it.
        """
        seconds = time.monotonic() - self._begun
        return StepReport(
            step=step,
            num_steps=self._num_steps,
            stage=entry["stage"],
            loss=float(np.mean(self._losses)),
            rate=entry["rate"],
            seconds=seconds,
            remaining=seconds / (step - self._first) * (self._num_steps - step),
            waiting=self._waited / max(self._worked, 1e-9),
            miou=self.miou,
        )
