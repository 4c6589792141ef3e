"""The one training loop: stages, steps, scores, saved states, on any number of processes.

It runs the stages of a plan (`stage.py`) one after the other; each leaves the running mean of its
weights to the next. Devices, processes and reduced precision are accelerate's. Chance in the
network is seeded anew for every microbatch of every step, from the recipe's seed: a run that is
taken up again, or shared out to more processes, goes the same way.
"""

from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from escnet.errors import ConfigError
from escnet.training.pace import Pace, StepReport
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from escnet.training.run_log import RunLog, forget_steps_after, read_log
from escnet.training.stage import Plan, parameter_names
from escnet.training.stage_run import StageRun, copy_in
from escnet.training.states import SavedStates, check_same, check_shared
from escnet.training.stopping import Stopped, StopRequest, stop_requests

_NO_STATE = -1  # among steps that processes tell each other


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
        self._index = 0  # of the stage that is trained
        self._running: StageRun | None = None

    @property
    def running(self) -> StageRun:
        """The stage that is trained; it begins where nothing has begun it yet."""
        if self._running is None:
            stage, network = self.plan.stages[self._index], self.plan.network
            seed = self._training.seed
            self._running = StageRun(stage, network, self.accelerator, seed=seed)
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
            if self._owes_a_look():
                self._take_a_look(log, pace)
            for index in range(self._index, len(self.plan.stages)):
                if index > self._index:
                    self._index, self._running = index, None
                self._train_stage(log, pace, request, on_step)
                self.running.finish()

    def _train_stage(
        self,
        log: RunLog | None,
        pace: Pace,
        request: StopRequest,
        on_step: Callable[[StepReport], None] | None,
    ) -> None:
        """The steps that the running stage still has."""
        running, end = self.running, self._ends[self._index]
        first = end - running.stage.schedule.steps
        if self.step == end:
            return
        with closing(running.stage.batches(self.step - first, self.share)) as batches:
            while self.step < end:
                pace.start()
                microbatches = next(batches)
                pace.got_data()
                loss, rate = running.advance(self.step, self.step - first, microbatches)
                self.step += 1
                pace.finish(loss)
                entry = {"stage": running.stage.name, "loss": loss, "rate": rate}
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
            with self.running.averaged():
                scores = dict(self._look(self.step))
            if (miou := scores.get("miou")) is not None:
                pace.miou = miou
                # Before the log has the score: without it a run that goes on is scored again.
                self.states.mark_best(self.step, miou)
            log.add(self.step, scores=scores)
            log.flush()
        self.accelerator.wait_for_everyone()

    def _largest(self, number: int) -> int:
        """The largest number of any process; all of them have to do the same at the same step."""
        return max(self._of_all(number))

    def _of_all(self, number: int) -> list[int]:
        """Every process's number."""
        if self.share.count == 1:
            return [number]
        own = torch.tensor(number, device=self.accelerator.device)
        return [int(one) for one in self.accelerator.gather(own[None])]

    def save(self, log: RunLog | None = None) -> None:
        """Write everything that a later run needs to go on as if nothing had happened.

        Raises:
            OutputError: If it cannot be written.
        """
        if not self.accelerator.is_main_process:
            return
        if log is not None:
            log.flush()
        running, parameters = self.running, dict(self.plan.network.named_parameters())
        earlier = self.plan.stages[: self._index]
        before = set[str]().union(*(parameter_names(one.groups) for one in earlier))
        state = {
            "of": self._identity(),
            "step": self.step,
            "stage": self._index,
            "before": {
                name: parameters[name].detach() for name in sorted(before - {*running.trained})
            },
            "buffers": dict(self.plan.network.named_buffers()),
            **running.state(),
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
        network = self.plan.network
        copy_in(dict(network.named_parameters()), state["before"])
        copy_in(dict(network.named_buffers()), state["buffers"])  # what the stage begins with
        self._index, self._running = state["stage"], None
        self.running.load(state)
        copy_in(dict(network.named_buffers()), state["buffers"])  # and what it left of its own
        self.step = state["step"]
        return True

    def _identity(self) -> dict[str, Any]:
        return {"recipe": self.recipe.model_dump(mode="json"), **self.plan.identity}
