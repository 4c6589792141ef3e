"""The one training loop: losses, gradients, rates, saved states, on any number of processes.

It runs the stages of a plan (`stage.py`) one after the other; each leaves the running mean of its
weights to the next. Devices, processes and reduced precision are accelerate's. Chance in the
network is seeded anew for every microbatch of every step, from the recipe's seed: a run that is
taken up again, or shared out to more processes, goes the same way.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from escnet.errors import ConfigError
from escnet.training.pace import Pace, StepReport
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from escnet.training.run_log import RunLog, forget_steps_after, read_log
from escnet.training.stage import (
    Microbatch,
    Plan,
    Stage,
    average_decay,
    cosine_share,
    parameter_names,
)
from escnet.training.states import SavedStates, check_same, check_shared
from escnet.training.stopping import Stopped, StopRequest, stop_requests

_NO_STATE = -1  # among steps that processes tell each other


@dataclass(slots=True, kw_only=True)
class _Running:
    """What belongs to the stage that is being trained.

    Attributes:
        index: Of the stage in the plan.
        stage: The stage.
        first: Its first step in the run.
        module: Its loss, as the processes share it.
        optimizer: Of what it trains.
        trained: What it trains, by name.
        start: The same as it was at the beginning, if some of that is to be kept.
        average: The running mean of the same.
    """

    index: int
    stage: Stage
    first: int
    module: nn.Module
    optimizer: AcceleratedOptimizer
    trained: dict[str, nn.Parameter]
    start: dict[str, Tensor]
    average: dict[str, Tensor]


class Trainer:
    """A plan, and everything that changes from step to step.

    Args:
        plan: What is trained.
        recipe: How a step computes, and what is recorded.
        folder: The run's.
        accelerator: Its processes and device.
        look: Called every so often with the averaged network and the step; returns its score.

    Raises:
        ConfigError: If the processes do not divide a stage's batch.
    """

    def __init__(
        self,
        plan: Plan,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator,
        look: Callable[[int], Mapping[str, Any]] | None = None,
    ) -> None:
        self.step = 0
        self.plan = plan
        self.states = SavedStates(folder, recipe.records.keep_states)
        self.recipe, self._training = recipe, recipe.training
        self._folder, self.accelerator, self._look = folder, accelerator, look
        self._ends = list(accumulate(stage.schedule.steps for stage in plan.stages))
        self.num_steps = self._ends[-1]
        count = accelerator.num_processes
        for stage in plan.stages:
            if (size := stage.schedule.batch_size) % count:
                raise ConfigError(
                    f"batch_size {size} of stage {stage.name} cannot be shared by {count} "
                    f"processes: choose a multiple of {count}"
                )
        self.share = Share(accelerator.process_index, count, accelerator.device)
        plan.network.to(accelerator.device)
        plan.network.gradient_checkpointing = self._training.gradient_checkpointing
        if self._training.compile:
            compiled = torch.compile(plan.network.segment, dynamic=True)
            plan.network.segment = compiled  # type: ignore[method-assign]
        self._running: _Running | None = None

    @property
    def running(self) -> _Running:
        """The stage that is being trained; the first one is entered where there is none."""
        if self._running is None:
            self._enter(0)
        assert self._running is not None  # noqa: S101 -- for the type checker
        return self._running

    def run(self, on_step: Callable[[StepReport], None] | None = None) -> None:
        """Train to the end, or on from where `resume` left it.

        The network has the weights that the last stage leaves then.

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
            pace = Pace(self.step, self.num_steps)
            first = self.running.index
            if self._owes_a_look():
                self._take_a_look(log, pace)
            for index in range(first, len(self.plan.stages)):
                if index > first:
                    self._enter(index)
                self._train_stage(log, pace, request, on_step)
                self._leave()

    def _train_stage(
        self,
        log: RunLog | None,
        pace: Pace,
        request: StopRequest,
        on_step: Callable[[StepReport], None] | None,
    ) -> None:
        """The steps that the running stage still has."""
        running = self.running
        end = running.first + running.stage.schedule.steps
        if self.step == end:
            return
        with closing(running.stage.batches(self.step - running.first, self.share)) as batches:
            while self.step < end:
                pace.start()
                microbatches = next(batches)
                pace.got_data()
                entry = self.advance(microbatches)
                pace.finish(entry["loss"])
                if log is not None:
                    log.add(self.step, **entry, **pace.last())
                    if on_step is not None:
                        on_step(pace.report(self.step, entry))
                self._record(log, pace, request)

    def _open_log(self) -> RunLog:
        return RunLog(
            self._folder, tensorboard=self.recipe.records.tensorboard, first_step=self.step + 1
        )

    def _record(self, log: RunLog | None, pace: Pace, request: StopRequest) -> None:
        """Score, save and stop, each if it is time to."""
        is_last = self.step == self.num_steps
        is_look = self._is_look()
        asked = self._largest(request.signal_number)
        if is_look or asked or self.step in self._ends or not self.step % self._training.save_every:
            self.save(log)
        if is_look:
            self._take_a_look(log, pace)
        if asked and not is_last:
            raise Stopped(
                f"stopped after step {self.step} of {self.num_steps}, which is saved in "
                f"{self._folder}: go on with --resume",
                asked,
            )

    def _is_look(self) -> bool:
        """Whether the step that is done is one to be scored."""
        every = self.recipe.records.validate_every
        is_last = self.step == self.num_steps
        return bool(self.step and every) and (self.step % every == 0 or is_last)

    def _owes_a_look(self) -> bool:
        """Whether a run ended after its state was saved and before it was scored."""
        entries = read_log(self._folder) if self.accelerator.is_main_process else []
        is_scored = any(one["step"] == self.step and "scores" in one for one in entries)
        owes = self._is_look() and self.accelerator.is_main_process and not is_scored
        return bool(self._largest(int(owes)))

    def _take_a_look(self, log: RunLog | None, pace: Pace) -> None:
        """Score the averaged network, in the first process; the others wait."""
        if log is not None and self._look is not None:
            with self._averaged():
                scores = dict(self._look(self.step))
            if (miou := scores.get("miou")) is not None:
                pace.miou = miou
                # Before the log has the score: without it a run that goes on is scored again.
                self.states.mark_best(self.step, miou)
            log.add(self.step, scores=scores)
            log.flush()
        self.accelerator.wait_for_everyone()

    def _enter(self, index: int) -> None:
        """Make a stage ready, behind the weights that those before it left."""
        stage = self.plan.stages[index]
        self.accelerator.free_memory()
        names = parameter_names(stage.groups)
        for name, parameter in self.plan.network.named_parameters():
            parameter.requires_grad_(name in names)
        torch.manual_seed(self._training.seed)  # what a stage begins at random
        with self.accelerator.main_process_first():  # it leaves the others what it computed
            loss = stage.begin()
        trained = {name: p for group in stage.groups.values() for name, p in group.items()}
        self._running = _Running(
            index=index,
            stage=stage,
            first=self._ends[index] - stage.schedule.steps,
            module=self.accelerator.prepare_model(loss),
            optimizer=self.accelerator.prepare_optimizer(_optimizer_of(stage)),
            trained=trained,
            start=_copy_of(trained) if stage.kept else {},
            average=_copy_of(trained),
        )

    def _leave(self) -> None:
        """Leave the averaged weights of the stage, mixed with those it began with, to the next."""
        running = self.running
        running.average = {
            name: torch.lerp(value, running.start[name], running.stage.kept)
            if running.start
            else value
            for name, value in running.average.items()
        }
        _copy_in(running.trained, running.average)
        self.plan.network.eval()
        running.stage.finish()

    def advance(self, microbatches: Sequence[Microbatch]) -> dict[str, Any]:
        """One step, and what the log says of it."""
        running = self.running
        schedule = running.stage.schedule
        running.stage.set_mode()
        rate = self._set_rates(running)
        loss = torch.zeros((), device=self.accelerator.device)
        for index, microbatch in enumerate(microbatches):
            is_last = index == len(microbatches) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(running.module):
                loss += self._backward(microbatch)
        value = float(self.accelerator.reduce(loss, "sum"))
        if not math.isfinite(value):
            raise ConfigError(
                f"the loss is {value} at step {self.step + 1}: "
                "lower the stage's learning_rate, or train in float32"
            )
        self.accelerator.clip_grad_norm_(list(running.trained.values()), schedule.gradient_clip)
        running.optimizer.step()
        running.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average(running)
        return {"stage": running.stage.name, "loss": value, "rate": rate}

    def _backward(self, microbatch: Microbatch) -> Tensor:
        """Gradients of a microbatch; its part of the loss."""
        seeds = np.random.SeedSequence([self._training.seed, self.step, microbatch.place])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        loss: Tensor = self.running.module(microbatch.batch)
        # Gradients are averaged over the processes, but their losses add up.
        self.accelerator.backward(loss * self.share.count)
        return loss.detach()

    def _set_rates(self, running: _Running) -> float:
        schedule = running.stage.schedule
        place = (self.step - running.first) / max(1, schedule.steps)
        rate = schedule.learning_rate * cosine_share(place, schedule.warmup_share)
        for group in running.optimizer.param_groups:
            group["lr"] = rate * running.stage.rates[group["name"]]
        return rate

    def _update_average(self, running: _Running) -> None:
        decay = average_decay(running.stage.schedule.average, self.step - running.first)
        with torch.no_grad():
            for name, parameter in running.trained.items():
                running.average[name].lerp_(parameter, 1 - decay)

    def _largest(self, number: int) -> int:
        """The largest number of any process; all of them have to do the same at the same step."""
        return max(self._of_all(number))

    def _of_all(self, number: int) -> list[int]:
        """Every process's number."""
        if self.share.count == 1:
            return [number]
        own = torch.tensor(number, device=self.accelerator.device)
        return [int(one) for one in self.accelerator.gather(own[None])]

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The network with the running mean of its weights, in evaluation mode."""
        running = self.running
        own = _copy_of(running.trained)
        _copy_in(running.trained, running.average)
        self.plan.network.eval()
        try:
            yield
        finally:
            _copy_in(running.trained, own)

    def save(self, log: RunLog | None = None) -> None:
        """Write everything that a later run needs to go on as if nothing had happened.

        Raises:
            OutputError: If it cannot be written.
        """
        if not self.accelerator.is_main_process:
            return
        if log is not None:
            log.flush()
        running, scaler = self.running, self.accelerator.scaler
        earlier = self.plan.stages[: running.index]
        before = set[str]().union(*(parameter_names(one.groups) for one in earlier))
        parameters = dict(self.plan.network.named_parameters())
        state = {
            "of": self._identity(),
            "step": self.step,
            "stage": running.index,
            "before": {
                name: parameters[name].detach() for name in sorted(before - {*running.trained})
            },
            "trained": {name: p.detach() for name, p in running.trained.items()},
            "buffers": dict(self.plan.network.named_buffers()),
            "start": running.start,
            "average": running.average,
            "optimizer": running.optimizer.state_dict(),
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
        steps = self._of_all(_NO_STATE if newest is None else newest)
        check_shared(self._folder, [None if step == _NO_STATE else step for step in steps])
        state = self.states.load_newest()
        if state is None:
            return False
        check_same(self._folder, state["of"], self._identity())
        network, device = self.plan.network, self.accelerator.device
        parameters = dict(network.named_parameters())
        _copy_in(parameters, state["before"])
        _copy_in(dict(network.named_buffers()), state["buffers"])
        self._enter(state["stage"])
        running = self.running
        _copy_in(running.trained, state["trained"])
        _copy_in(dict(network.named_buffers()), state["buffers"])
        running.start = {name: value.to(device) for name, value in state["start"].items()}
        running.average = {name: value.to(device) for name, value in state["average"].items()}
        running.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        return True

    def _identity(self) -> dict[str, Any]:
        return {"recipe": self.recipe.model_dump(mode="json"), **self.plan.identity}


def _optimizer_of(stage: Stage) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [
            {"params": list(group.values()), "name": name, "weight_decay": decay}
            for (name, decay), group in stage.groups.items()
        ],
        lr=0.0,
    )


def _copy_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _copy_in(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give tensors the values of the same names."""
    with torch.no_grad():
        for name, value in values.items():
            tensors[name].copy_(value)
