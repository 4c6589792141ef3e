"""A stage while it is trained: its loss, its optimiser, and the running mean of its weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from escnet.errors import ConfigError
from escnet.training.stage import Microbatch, Stage, average_decay, cosine_share, parameter_names


class StageRun:
    """Trains a stage, step by step.

    Args:
        stage: The stage, behind the weights that those before it left.
        network: What it trains some weights of.
        accelerator: Processes and device.
        seed: Of chance in the network, and of what the stage begins at random.

    Attributes:
        stage: The stage.
        trained: What it trains, by name.
        optimizer: Of that.
    """

    def __init__(
        self, stage: Stage, network: nn.Module, accelerator: Accelerator, *, seed: int
    ) -> None:
        self.stage = stage
        self._network, self._accelerator, self._seed = network, accelerator, seed
        accelerator.free_memory()
        names = parameter_names(stage.groups)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in names)
        torch.manual_seed(seed)
        with accelerator.main_process_first():  # it leaves the others what it computed
            loss = stage.begin()
        self.trained = {name: p for group in stage.groups.values() for name, p in group.items()}
        self._module = accelerator.prepare_model(loss)
        self.optimizer = accelerator.prepare_optimizer(_optimizer_of(stage))
        self._start = _copy_of(self.trained) if stage.kept else {}
        self._average = _copy_of(self.trained)

    def advance(
        self, step: int, place: int, microbatches: Sequence[Microbatch]
    ) -> tuple[float, float]:
        """Do one step.

        Args:
            step: Of the run, from 0; chance in the network is seeded with it.
            place: Of the stage, from 0.
            microbatches: What this process works on.

        Returns:
            The loss of all processes, and the peak group's rate.

        Raises:
            ConfigError: If the loss is no longer finite.
        """
        accelerator, schedule = self._accelerator, self.stage.schedule
        self.stage.set_mode()
        rate = self._set_rates(place)
        loss = torch.zeros((), device=accelerator.device)
        for index, microbatch in enumerate(microbatches):
            is_last = index == len(microbatches) - 1
            with nullcontext() if is_last else accelerator.no_sync(self._module):
                loss += self._backward(step, microbatch)
        value = float(accelerator.reduce(loss, "sum"))
        if not math.isfinite(value):
            raise ConfigError(
                f"the loss is {value} at step {step + 1}: "
                "lower the stage's learning_rate, or train in float32"
            )
        accelerator.clip_grad_norm_(list(self.trained.values()), schedule.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average(place + 1)
        return value, rate

    def _backward(self, step: int, microbatch: Microbatch) -> Tensor:
        """Gradients of a microbatch; its part of the loss."""
        seeds = np.random.SeedSequence([self._seed, step, microbatch.place])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        loss: Tensor = self._module(microbatch.batch)
        # Gradients are averaged over the processes, but their losses add up.
        self._accelerator.backward(loss * self._accelerator.num_processes)
        return loss.detach()

    def _set_rates(self, place: int) -> float:
        schedule = self.stage.schedule
        share = cosine_share(place / max(1, schedule.steps), schedule.warmup_share)
        rate = schedule.learning_rate * share
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.stage.rates[group["name"]]
        return rate

    @torch.no_grad()
    def _update_average(self, num_steps: int) -> None:
        decay = average_decay(self.stage.schedule.average, num_steps)
        for name, parameter in self.trained.items():
            self._average[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the running mean of its weights, in evaluation mode."""
        own = _copy_of(self.trained)
        copy_in(self.trained, self._average)
        self._network.eval()
        try:
            yield
        finally:
            copy_in(self.trained, own)

    def finish(self) -> None:
        """Leave the running mean, mixed with the weights that the stage began with, to the next."""
        for name, start in self._start.items():
            self._average[name] = torch.lerp(self._average[name], start, self.stage.kept)
        copy_in(self.trained, self._average)
        self._network.eval()
        self.stage.finish()

    def state(self) -> dict[str, Any]:
        """Everything that changes from step to step, but for the network's buffers."""
        scaler = self._accelerator.scaler
        return {
            "trained": {name: p.detach() for name, p in self.trained.items()},
            "start": self._start,
            "average": self._average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        device, scaler = self._accelerator.device, self._accelerator.scaler
        copy_in(self.trained, state["trained"])
        self._start = {name: value.to(device) for name, value in state["start"].items()}
        self._average = {name: value.to(device) for name, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        if scaler is not None and state["scaler"]:
            scaler.load_state_dict(state["scaler"])


def copy_in(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give tensors the values of the same names."""
    with torch.no_grad():
        for name, value in values.items():
            tensors[name].copy_(value)


def _copy_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _optimizer_of(stage: Stage) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [
            {"params": list(group.values()), "name": name, "weight_decay": decay}
            for (name, decay), group in stage.groups.items()
        ],
        lr=0.0,
    )
