"""The one training loop: losses, gradients, rates, saved states, on any number of processes.

What is trained, and on what, is a task (`task.py`). Devices, processes and reduced precision are
accelerate's. Chance in the network is seeded anew for every portion of every step, from the
recipe's seed: a run that is taken up again, or shared out to more processes, goes the same way.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from pydantic import ValidationError
from torch import Tensor

from escnet.errors import ConfigError
from escnet.training.config import Recipe, TrainingSection
from escnet.training.run_log import RunLog, forget_steps_after, read_log
from escnet.training.schedule import average_decay, cosine_share
from escnet.training.states import SavedStates, check_same, check_shared
from escnet.training.stopping import Stopped, StopRequest, stop_requests
from escnet.training.task import Portion, Share, Task

_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
_LONGEST_WAIT = timedelta(hours=6)  # for a process that computes features or scores alone
_NO_STATE = -1  # among steps that processes tell each other
_SMOOTHED = 50  # steps whose mean loss is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a step tells.

    Attributes:
        loss: The mean of the last steps' losses.
        rate: The peak group's learning rate.
        seconds: Since the run was started or taken up.
        remaining: Seconds that the steps to come will take, at the pace so far.
        waiting: The share of the time that went into waiting for data.
        miou: The newest score on the validation pictures, if there is one.
    """

    step: int
    num_steps: int
    phase: str
    loss: float
    rate: float
    seconds: float
    remaining: float
    waiting: float
    miou: float | None


def start_accelerator(training: TrainingSection) -> Accelerator:
    """The processes and the device of this run, as `accelerate launch` or torchrun set them up.

    Raises:
        ConfigError: If the precision is not for this device.
    """
    AcceleratorState._reset_state()  # noqa: SLF001 -- an earlier run may have had another precision
    if training.dtype == "float16" and not torch.cuda.is_available():
        raise ConfigError("training.dtype float16 needs a GPU: choose bfloat16 or float32")
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TF32, as CAT-Seg was trained
    return Accelerator(
        cpu=not torch.accelerator.is_available(),  # else processes would not find each other
        mixed_precision=_PRECISION[training.dtype],
        kwargs_handlers=[
            # Blocks rest during an alignment; buffers follow from the step alone.
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=_LONGEST_WAIT),
        ],
    )


class Trainer:
    """A task, and everything that changes from step to step.

    Args:
        task: What is trained.
        recipe: Its schedule, and what is recorded.
        folder: The run's.
        accelerator: Its processes and device.
        look: Called every so often with the averaged network and the step; returns its score.

    Raises:
        ConfigError: If the processes do not divide the batch.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator,
        look: Callable[[int], Mapping[str, Any]] | None = None,
    ) -> None:
        self.step = 0
        self.task = task
        self.states = SavedStates(folder, recipe.records.keep_states)
        self.recipe, self._training = recipe, recipe.training
        self._folder, self.accelerator, self._look = folder, accelerator, look
        count = accelerator.num_processes
        if task.divides % count:
            raise ConfigError(
                f"training.batch_size {task.divides} cannot be shared by {count} processes: "
                f"choose a multiple of {count}"
            )
        self.share = Share(accelerator.process_index, count, accelerator.device)
        task.network.gradient_checkpointing = self._training.gradient_checkpointing
        if self._training.compile:
            compiled = torch.compile(task.network.segment, dynamic=True)
            task.network.segment = compiled  # type: ignore[method-assign, assignment]
        self._module = accelerator.prepare_model(task.loss)
        self.optimizer = accelerator.prepare_optimizer(
            torch.optim.AdamW(
                [
                    {"params": list(group.values()), "name": name, "weight_decay": decay}
                    for (name, decay), group in task.groups.items()
                ],
                lr=0.0,
            )
        )
        self._trained = {n: p for group in task.groups.values() for n, p in group.items()}
        self.average = {name: p.detach().clone() for name, p in self._trained.items()}

    def run(self, on_step: Callable[[Progress], None] | None = None) -> None:
        """Train to the end, or on from where `resume` left it.

        Args:
            on_step: Called after every step, in the first process alone.

        Raises:
            ConfigError: If the loss is no longer finite.
            OutputError: If the log or a state cannot be written.
            Stopped: If the process was asked to stop; its state is saved.
        """
        is_first = self.accelerator.is_main_process
        if is_first:  # what was logged after the newest state, or before there was any
            forget_steps_after(self._folder, self.step)
            self.states.forget_best_after(self.step)
        with (
            stop_requests() as request,
            self._open_log() if is_first else nullcontext() as log,
        ):
            pace = _Pace(self.step, self.task.num_steps)
            if self._owes_a_look():
                self._take_a_look(log, pace)
            with closing(self.task.batches(self.step, self.share)) as batches:
                while self.step < self.task.num_steps:
                    pace.start()
                    portions = next(batches)
                    pace.got_data()
                    entry = self.advance(portions)
                    pace.finish(entry["loss"])
                    if log is not None:
                        log.add(self.step, **entry, **pace.last())
                        if on_step is not None:
                            on_step(pace.progress(self.step, entry))
                    self._record(log, pace, request)

    def _open_log(self) -> RunLog:
        return RunLog(
            self._folder, tensorboard=self.recipe.records.tensorboard, first_step=self.step + 1
        )

    def _record(self, log: RunLog | None, pace: "_Pace", request: StopRequest) -> None:
        """Score, save and stop, each if it is time to."""
        is_last = self.step == self.task.num_steps
        is_look = self._is_look()
        asked = self._asked(request.signal_number)
        if is_look or is_last or asked or self.step % self._training.save_every == 0:
            self.save(log)
        if is_look:
            self._take_a_look(log, pace)
        if asked and not is_last:
            raise Stopped(
                f"stopped after step {self.step} of {self.task.num_steps}, which is saved in "
                f"{self._folder}: go on with --resume",
                asked,
            )

    def _is_look(self) -> bool:
        """Whether the step that is done is one to be scored."""
        every = self.recipe.records.validate_every
        is_last = self.step == self.task.num_steps
        return bool(self.step and every) and (self.step % every == 0 or is_last)

    def _owes_a_look(self) -> bool:
        """Whether a run ended after its state was saved and before it was scored."""
        entries = read_log(self._folder) if self.accelerator.is_main_process else []
        is_scored = any(one["step"] == self.step and "scores" in one for one in entries)
        owes = self._is_look() and self.accelerator.is_main_process and not is_scored
        return bool(self._asked(int(owes)))

    def _take_a_look(self, log: RunLog | None, pace: "_Pace") -> None:
        """Score the averaged network, in the first process; the others wait."""
        if log is not None and self._look is not None:
            with self.averaged():
                scores = dict(self._look(self.step))
            if (miou := scores.get("miou")) is not None:
                pace.miou = miou
                # Before the log has the score: without it a run that goes on is scored again.
                self.states.mark_best(self.step, miou)
            log.add(self.step, scores=scores)
            log.flush()
        self.accelerator.wait_for_everyone()

    def advance(self, portions: Sequence[Portion]) -> dict[str, Any]:
        """One step, and what the log says of it."""
        phase, first, length = self.task.phase_of(self.step)
        self.task.begin(self.step)
        rate = self._set_rates(first, length)
        loss = torch.zeros((), device=self.accelerator.device)
        for index, portion in enumerate(portions):
            is_last = index == len(portions) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self._module):
                loss += self._backward(portion)
        value = float(self.accelerator.reduce(loss, "sum"))
        if not math.isfinite(value):
            raise ConfigError(
                f"the loss is {value} at step {self.step + 1}: "
                "lower training.learning_rate, or train in float32"
            )
        self.accelerator.clip_grad_norm_(list(self._trained.values()), self._training.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average(self.step - first)
        return {"phase": phase, "loss": value, "rate": rate}

    def _backward(self, portion: Portion) -> Tensor:
        """Gradients of a portion; its part of the loss."""
        seeds = np.random.SeedSequence([self._training.seed, self.step, portion.place])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        loss = self._module(portion.content)
        # Gradients are averaged over the processes, but their losses add up.
        self.accelerator.backward(loss * self.share.count)
        return loss.detach()

    def _set_rates(self, first: int, length: int) -> float:
        rate = self._training.learning_rate * cosine_share(
            (self.step - first) / max(1, length), self._training.warmup_share
        )
        factors = self.task.rate_factors(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * factors[group["name"]]
        return rate

    def _update_average(self, phase_step: int) -> None:
        decay = average_decay(self._training.average, phase_step)
        with torch.no_grad():
            for name, parameter in self._trained.items():
                self.average[name].lerp_(parameter, 1 - decay)

    def _asked(self, number: int) -> int:
        """The largest number of any process; all of them have to do the same at the same step."""
        return max(self._of_all(number))

    def _of_all(self, number: int) -> list[int]:
        """Every process's number."""
        if self.share.count == 1:
            return [number]
        own = torch.tensor(number, device=self.accelerator.device)
        return [int(one) for one in self.accelerator.gather(own[None])]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the running mean of its weights, in evaluation mode."""
        own = {name: p.detach().clone() for name, p in self._trained.items()}
        self._copy_in(self.average)
        self.task.network.eval()
        try:
            yield
        finally:
            self._copy_in(own)

    def _copy_in(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(values[name])

    def save(self, log: RunLog | None = None) -> None:
        """Write everything that a later run needs to go on as if nothing had happened.

        Raises:
            OutputError: If it cannot be written.
        """
        if not self.accelerator.is_main_process:
            return
        if log is not None:
            log.flush()
        scaler = self.accelerator.scaler
        state = {
            "of": self._identity(),
            "step": self.step,
            "trained": {name: p.detach() for name, p in self._trained.items()},
            "buffers": dict(self.task.network.named_buffers()),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }
        self.states.save(self.step, state)

    def resume(self) -> bool:
        """Take up the newest state; False if there is none.

        Raises:
            ConfigError: If it is of another recipe, another network, or other pictures, or not all
                processes find it.
            WeightsError: If it is damaged.
        """
        newest = self.states.newest_step()
        found = self._of_all(_NO_STATE if newest is None else newest)
        check_shared(self._folder, [None if step == _NO_STATE else step for step in found])
        state = self.states.load_newest()
        if state is None:
            return False
        identity = self._identity()
        check_same(self._folder, _with_defaults(state["of"], identity), identity)
        device = self.accelerator.device
        self._copy_in(state["trained"])
        for name, buffer in self.task.network.named_buffers():
            buffer.copy_(state["buffers"][name])
        self.average = {name: value.to(device) for name, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        return True

    def _identity(self) -> dict[str, Any]:
        recipe = self.recipe.model_dump(mode="json")
        return {"recipe": recipe, **self.task.identity()}


def _with_defaults(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A saved identity with what has come since then, which is as if not there.

    Settings have their defaults, and what was not compared then is as it is now.
    """
    try:
        recipe = Recipe.model_validate(saved["recipe"]).model_dump(mode="json")
    except (LookupError, ValidationError):  # of another kind: what differs will be named
        return {**wanted, **saved}
    return {**wanted, **saved, "recipe": recipe}


class _Pace:
    """Where the time of the steps goes, and how much of it is left."""

    def __init__(self, first: int, num_steps: int) -> None:
        self.miou: float | None = None
        self._first, self._num_steps = first, num_steps
        self._begun = time.monotonic()
        self._losses: list[float] = []
        self._waited = self._worked = self._last_wait = self._last = 0.0

    def start(self) -> None:
        self._mark = time.monotonic()

    def got_data(self) -> None:
        self._last_wait = time.monotonic() - self._mark

    def finish(self, loss: float) -> None:
        self._last = time.monotonic() - self._mark
        self._waited += self._last_wait
        self._worked += self._last
        self._losses = [*self._losses[1 - _SMOOTHED :], loss]

    def last(self) -> dict[str, float]:
        return {
            "seconds": round(self._last, 4),
            "waiting": round(self._last_wait / max(self._last, 1e-9), 4),
        }

    def progress(self, step: int, entry: Mapping[str, Any]) -> Progress:
        seconds = time.monotonic() - self._begun
        return Progress(
            step=step,
            num_steps=self._num_steps,
            phase=entry["phase"],
            loss=float(np.mean(self._losses)),
            rate=entry["rate"],
            seconds=seconds,
            remaining=seconds / (step - self._first) * (self._num_steps - step),
            waiting=self._waited / max(self._worked, 1e-9),
            miou=self.miou,
        )
