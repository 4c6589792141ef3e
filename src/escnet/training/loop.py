"""The training loop: alignment first, then the whole network.

Frozen towers are run once (`features.py`). Alignment trains the map to the joint space on the
correlation alone, which costs little; then the blocks and the decoder join. One picture at a time
brings its own class names, and gradients of a batch are added up.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError
from escnet.model.escnet import EscNet
from escnet.model.vision import PairedMaps
from escnet.training.config import Recipe, TrainingSection
from escnet.training.examples import Example, ExampleSource
from escnet.training.features import FeatureStore
from escnet.training.loss import partial_label_loss
from escnet.weights.assemble import paired_towers

_LABEL_SIDE = 168  # finer than the decoder's grid of 96, so that thin things keep their pixels
_ALIGNMENT_SIDE = 48
_STATE_FILE = "state.pt"
_LOG_FILE = "log.jsonl"


@dataclass
class Progress:
    """What a step tells."""

    step: int
    num_steps: int
    phase: str
    loss: float
    seconds: float


@dataclass
class Trainer:
    """A network, its data, and everything that changes from step to step.

    Attributes:
        sentences: The sentence vector of every text that stands for a class name.
        wordings: For each of the dataset's class names its rows in `sentences`, its own first.
    """

    network: EscNet
    recipe: Recipe
    dataset: FolderDataset
    store: FeatureStore
    sentences: Float[Tensor, "M V"]
    wordings: Sequence[Sequence[int]]
    folder: Path
    step: int = 0
    optimizer: torch.optim.Optimizer = field(init=False)
    average: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        training = self.recipe.training
        self.vision, self.text = paired_towers(self.network)
        self.random = np.random.default_rng(training.seed)
        torch.manual_seed(training.seed)
        data = self.recipe.data
        self.examples, self.alignment_examples = (
            ExampleSource(
                self.dataset,
                side=side,
                source_weights=data.source_weights,
                withheld=data.withheld,
            )
            for side in (_LABEL_SIDE, _ALIGNMENT_SIDE)
        )
        self.vision.head.dropout.p = training.dropout
        self.groups = parameter_groups(self.network, training)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(group.values()), "name": name, "weight_decay": decay}
                for (name, decay), group in self.groups.items()
            ],
            lr=0.0,
        )
        self.average = {name: p.detach().clone() for name, p in self._trained()}
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def num_steps(self) -> int:
        """Of both phases."""
        return self.recipe.training.alignment_steps + self.recipe.training.steps

    def run(self, on_step: Callable[[Progress], None] | None = None) -> None:
        """Train to the end, or on from where `resume` left it.

        Raises:
            ConfigError: If the loss is no longer finite.
        """
        training = self.recipe.training
        start = time.monotonic()
        recent: list[float] = []
        with (self.folder / _LOG_FILE).open("a") as log:
            while self.step < self.num_steps:
                is_alignment = self.step < training.alignment_steps
                self._set_mode(is_alignment)
                self._set_rates(is_alignment)
                losses = [
                    self._backward(share)
                    for share in (self._alignment_losses() if is_alignment else self._losses())
                ]
                nn.utils.clip_grad_norm_([p for _, p in self._trained()], training.gradient_clip)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                self._update_average(is_alignment)
                recent = [*recent[-49:], sum(losses)]
                progress = Progress(
                    step=self.step,
                    num_steps=self.num_steps,
                    phase="alignment" if is_alignment else "whole network",
                    loss=float(np.mean(recent)),
                    seconds=time.monotonic() - start,
                )
                log.write(json.dumps({"step": self.step, "loss": sum(losses)}) + "\n")
                if on_step is not None:
                    on_step(progress)
                if self.step % training.save_every == 0 or self.step == self.num_steps:
                    log.flush()
                    self.save()

    def averaged(self) -> EscNet:
        """The network with the running mean of its weights, in evaluation mode."""
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(self.average[name])
        return self.network.eval()

    def save(self) -> None:
        """Write everything that a later run needs to go on as if nothing had happened."""
        state = {
            "recipe": self.recipe.model_dump(mode="json"),
            "step": self.step,
            "trained": {name: p.detach() for name, p in self._trained()},
            "norms": self.vision.head.norms.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "random": json.dumps(self.random.bit_generator.state),
            "torch_random": torch.get_rng_state(),
        }
        path = self.folder / _STATE_FILE
        unfinished = path.with_suffix(".unfinished")
        torch.save(state, unfinished)
        os.replace(unfinished, path)  # noqa: PTH105

    def resume(self) -> bool:
        """Take up what `save` wrote; False if there is nothing.

        Raises:
            ConfigError: If it was written by another recipe.
        """
        path = self.folder / _STATE_FILE
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        if different := sorted(_differences(state["recipe"], self.recipe.model_dump(mode="json"))):
            raise ConfigError(
                f"{path} was written by another recipe ({', '.join(different)} differ): "
                "give another run folder, or the same recipe"
            )
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(state["trained"][name])
        self.vision.head.norms.load_state_dict(state["norms"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.bit_generator.state = json.loads(state["random"])
        torch.set_rng_state(state["torch_random"])
        self.step = state["step"]
        self._forget_steps_after()
        return True

    def _forget_steps_after(self) -> None:
        """Take from the log what was done after the state was saved, and will be done again."""
        path = self.folder / _LOG_FILE
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(lines[: self.step]))

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        for group in self.groups.values():
            yield from group.items()

    def _set_mode(self, is_alignment: bool) -> None:
        """Towers never learn; the norms of the maps settle during the alignment."""
        self.network.eval()
        self.vision.head.train(is_alignment)
        self.vision.head.dropout.train(True)

    def _set_rates(self, is_alignment: bool) -> None:
        training = self.recipe.training
        first = 0 if is_alignment else training.alignment_steps
        length = training.alignment_steps if is_alignment else training.steps
        rate = training.learning_rate * cosine_share(
            (self.step - first) / max(1, length), training.warmup_share
        )
        factor = {
            "head": 1.0 if is_alignment else training.head_rate,
            "text": training.text_rate * (1.0 if is_alignment else training.head_rate),
            "sam": 0.0 if is_alignment else training.sam_rate,
            "blocks": 0.0 if is_alignment else 1.0,
        }
        for group in self.optimizer.param_groups:
            group["lr"] = rate * factor[group["name"]]

    def _backward(self, loss: Tensor) -> float:
        if not math.isfinite(value := loss.item()):
            raise ConfigError(
                f"the loss is {value} at step {self.step + 1}: "
                "lower training.learning_rate, or train in float32"
            )
        loss.backward()
        return value

    def _alignment_losses(self) -> Iterator[Tensor]:
        size = self.recipe.training.alignment_batch_size
        batch = [self.alignment_examples.draw(self.random, None) for _ in range(size)]
        views = [self.store.maps([e.item.stem], mirrored=e.is_mirrored) for e in batch]
        maps = PairedMaps(*(torch.cat(parts) for parts in zip(*views, strict=True)))
        with self._autocast():
            patches = self.vision.project(maps)
        total = torch.zeros(())
        for index, example in enumerate(batch):
            one = patches._replace(joint=patches.joint[index : index + 1].float())
            text = self.text.to_joint(
                self.sentences[worded(example.names, self.wordings, self.random)]
            )
            logits = self.network.correlate(one, text)
            total = total + self._loss(logits, example) / size
        yield total

    def _losses(self) -> Iterator[Tensor]:
        training = self.recipe.training
        for _ in range(training.batch_size):
            example = self.examples.draw(self.random, training.names_per_picture)
            maps = self.store.maps([example.item.stem], mirrored=example.is_mirrored)
            with self._autocast():
                text = self.text.to_joint(
                    self.sentences[worded(example.names, self.wordings, self.random)]
                )
                prediction = self.network.segment(self.vision.project(maps), text)
            loss = self._loss(prediction.logits, example)
            for evidence in prediction.evidence:
                loss = loss + training.evidence_weight * self._loss(evidence, example)
            yield loss / training.batch_size

    def _loss(self, logits: Float[Tensor, "1 n _ _"], example: Example) -> Tensor:
        logits = F.interpolate(
            logits.float(), size=example.target.shape, mode="bilinear", align_corners=False
        )
        training = self.recipe.training
        return partial_label_loss(
            logits[0],
            example.target,
            binary_weight=training.binary_weight,
            cross_weight=training.cross_weight,
            balance=training.balance,
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            "cpu", torch.bfloat16, enabled=self.recipe.training.dtype == "bfloat16"
        )

    def _update_average(self, is_alignment: bool) -> None:
        decay = self.recipe.training.average
        # The mean of the first steps would remember the start for long.
        phase_step = self.step - (0 if is_alignment else self.recipe.training.alignment_steps)
        decay = min(decay, (1 + phase_step) / (10 + phase_step))
        with torch.no_grad():
            for name, parameter in self._trained():
                self.average[name].lerp_(parameter, 1 - decay)


def worded(
    names: Int[np.ndarray, " n"], wordings: Sequence[Sequence[int]], random: np.random.Generator
) -> list[int]:
    """The row of a text for each name: its own every other time, else one of its synonyms'."""
    rows = []
    for name in names:
        own, *others = wordings[name]
        is_own = not others or random.integers(2)
        rows.append(own if is_own else others[int(random.integers(len(others)))])
    return rows


def parameter_groups(
    network: EscNet, training: TrainingSection
) -> dict[tuple[str, float], dict[str, nn.Parameter]]:
    """What is trained, by kind of rate and weight decay; everything else is frozen here.

    Towers and SAM's prompt encoder stay as they are (docs/paper-notes.md, note 20).
    """
    groups: dict[tuple[str, float], dict[str, nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        kind = _kind(name)
        parameter.requires_grad_(kind is not None and not (kind == "sam" and not training.sam_rate))
        if kind is None or not parameter.requires_grad:
            continue
        decay = training.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((kind, decay), {})[name] = parameter
    return groups


def _kind(name: str) -> str | None:
    if name.startswith(("vision.head.", "logit_")):
        return "head"
    if name.startswith("text.to_joint."):
        return "text"
    if name.startswith(("vision.", "text.", "prompt_encoder.")):
        return None
    if ".sam.two_way." in name or name.endswith(".sam.output_tokens"):
        return "sam"
    return "blocks"


def cosine_share(place: float, warmup: float) -> float:
    """The share of the peak rate: up in a line, down in half a cosine.

    Args:
        place: In the schedule, from 0 to 1.
        warmup: Where the peak is.
    """
    if place < warmup:
        return (place + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (place - warmup) / (1 - warmup)))


def _differences(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """Keys at which two recipes differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            yield from _differences(one.get(name), other.get(name), f"{key}.{name}".lstrip("."))
    elif one != other:
        yield key
