"""One training step: how long, where the time goes, how much memory, how many operations.

    python benchmarks/training_step.py time [NAME-PART ...] [--out FILE]     measured, in the loop
    python benchmarks/training_step.py count [NAME-PART ...] [--out FILE]    calculated

One JSON line for each scenario. Each runs in a process of its own, since a process's peak memory
never falls. Weights are random and pictures drawn, since no time depends on them.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from run import _PACKAGES, _commit, _processor
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from escnet.catseg.config import CatSegConfig
from escnet.catseg.network import CatSeg
from escnet.data.layout import class_names
from escnet.inference.machine.process_memory import peak_memory
from escnet.mini.network import Mini
from escnet.mini.training import map_loss
from escnet.mini.training.data import MiniData
from escnet.mini.training.network import NetworkStage
from escnet.mini.training.recipe import MiniRecipe
from escnet.mini.training.texts import NameTexts
from escnet.model.escnet import EscNet
from escnet.structures import builder_of
from escnet.towers.network import Network
from escnet.training import pictures
from escnet.training.examples import Examples
from escnet.training.loop import Trainer
from escnet.training.network_settings import config_of
from escnet.training.parameters import pictures_groups
from escnet.training.pictures_recipe import PicturesRecipe, SourceSection
from escnet.training.processes import start_accelerator
from escnet.training.recipe import Recipe, read_recipe
from escnet.training.sources import read_sources
from escnet.training.stage import Plan

ROOT = Path(__file__).parents[1]
TOKENIZER = ROOT / "src" / "escnet" / "mini" / "weights"  # words of CLIP's length, in both

_NAMES = class_names("coco171")
_NUM_PICTURES = 12
_SIZE_WH = (640, 480)  # of most of COCO's pictures

_LARGEST = 12  # operations that are put down by name
_TOKENS = 12  # of a class name in its template

# Operations that are sums of products, by their names in torch's profiler.
_PRODUCTS = re.compile(
    r"^aten::(mm|addmm|bmm|baddbmm|.*conv.*|.*scaled_dot_product.*|.*mkldnn_linear.*)$"
)
# torch counts the operations of attention on other devices only.
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (  # noqa: SLF001
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (  # noqa: SLF001
        lambda out, query, key, value, *_, **__: sdpa_backward_flop_count(out, query, key, value)
    ),
}


class Timed(NamedTuple):
    """A step to be timed."""

    recipe: str
    settings: tuple[str, ...]
    steps: int


class Counted(NamedTuple):
    """A step to be counted, of one picture."""

    recipe: str
    names: int


TIMED = {
    "vit-b-16/171": Timed("coco-stuff-vit-b-16", ("training.gradient_checkpointing=true",), 2),
    "vit-b-16/24": Timed("coco-stuff-vit-b-16", ("pictures.names_per_picture=24",), 3),
    "cat-seg-vit-b-16/171": Timed("coco-stuff-cat-seg-vit-b-16", (), 2),
    "mini/12": Timed("mini", (), 6),
}
COUNTED = {
    f"{recipe.removeprefix('coco-stuff-')}/{names}": Counted(recipe, names)
    for recipe, names in (
        ("coco-stuff-vit-b-16", 171),
        ("coco-stuff-vit-b-16", 24),
        ("coco-stuff-vit-b-16", 7),
        ("coco-stuff-vit-l-14", 171),
        ("coco-stuff-vit-l-14", 24),
        ("coco-stuff-cat-seg-vit-b-16", 171),
    )
}


class Clock:
    """Processor seconds of parts of a program; of parts in each other, each counts its own alone.

    They are this process's: what else runs on the machine does not count, nor do the workers.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.stack: list[str] = []
        self._since = 0.0

    def wrap(self, owner: Any, attribute: str, part: str) -> None:
        """Let a function of an object count as a part."""
        inner: Callable[..., Any] = getattr(owner, attribute)

        def counted(*arguments: Any, **options: Any) -> Any:
            with self.of(part):
                return inner(*arguments, **options)

        setattr(owner, attribute, counted)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Let what happens inside count as that part, and not as the one around it."""
        self.book()
        self.stack.append(part)
        try:
            yield
        finally:
            self.book()
            self.stack.pop()

    def book(self) -> None:
        """Put down what has happened since the last time."""
        now = time.process_time()
        if self.stack:
            self.seconds[self.stack[-1]] += now - self._since
        self._since = now


def watch(clock: Clock, network: Network, *, is_frozen: bool = False) -> None:
    """Let the parts of a network count."""
    clock.wrap(network.vision, "project" if is_frozen else "forward", "image tower")
    clock.wrap(network, "encode_text", "text tower")
    clock.wrap(network, "segment", "correlation")
    for index, block in enumerate(
        network.blocks if isinstance(network, EscNet) else network.layers
    ):
        clock.wrap(block, "forward", f"block {index}")
    clock.wrap(network.decoder, "forward", "decoder")


def measure(name: str) -> dict[str, Any]:
    """Steps of the real loop on drawn pictures."""
    timed = TIMED[name]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        data = drawn_pictures(Path(folder) / "data")
        recipe = _recipe(timed, data)
        plan = _plan(recipe, data, Path(folder))
        trainer = Trainer(plan, recipe, Path(folder), start_accelerator(recipe.training))
        clock = Clock()
        watch(clock, plan.network, is_frozen=isinstance(recipe, MiniRecipe))
        clock.wrap(pictures.PicturesLoss, "_dense", "loss")
        clock.wrap(map_loss.MapLoss, "map_loss", "loss")
        clock.wrap(trainer.accelerator, "backward", "backward")
        clock.wrap(trainer.accelerator, "clip_grad_norm_", "optimiser")
        clock.wrap(trainer.running.optimizer, "step", "optimiser")
        clock.wrap(trainer.running, "_update_average", "optimiser")
        clock.wrap(trainer.running, "advance", "the rest")
        clock.wrap(Examples, "__getitem__", "reading")
        trainer.save = lambda *_: None  # no part of a step
        marks: list[dict[str, float]] = []
        trainer.run(lambda _: marks.append(dict(clock.seconds)))
        num_steps = len(marks) - 1  # the first step allocates and warms up
        parts = {part: (marks[-1][part] - marks[0][part]) / num_steps for part in marks[-1]}
        shares = _shares_of_operations(trainer)
    reading = parts.pop("reading", 0.0)
    return {
        "kind": "time",
        "scenario": name,
        "pictures_per_step": plan.stages[0].schedule.batch_size,
        "dtype": recipe.training.dtype,
        "seconds": round(sum(parts.values()), 3),
        "parts": {part: round(value, 4) for part, value in _merged(parts).items()},
        "reading": round(reading, 4),
        "matrix_products": round(sum(v for k, v in shares.items() if _PRODUCTS.match(k)), 3),
        "largest": {name: round(shares[name], 3) for name in [*shares][:_LARGEST]},
        "peak_megabytes": round((peak_memory() or 0) / 1e6),
        "rounds": num_steps,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        **_about_here(),
    }


def _shares_of_operations(trainer: Trainer) -> dict[str, float]:
    """Of the time of one more step, the share of each of torch's operations."""
    microbatches = next(trainer.running.stage.batches(0, trainer.share))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trainer.running.advance(0, 0, microbatches)
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    total = sum(times.values())
    return {name: times[name] / total for name in sorted(times, key=lambda one: -times[one])}


def _merged(parts: Mapping[str, float]) -> dict[str, float]:
    """All blocks as one part."""
    merged: dict[str, float] = defaultdict(float)
    for part, value in parts.items():
        merged["blocks" if part.startswith("block ") else part] += value
    return dict(merged)


def _recipe(timed: Timed, data: Path) -> Recipe:
    """The recipe with a random network, drawn pictures, and one picture a step."""
    path = ROOT / "recipes" / f"{timed.recipe}.toml"
    if timed.recipe == "mini":
        stage = f"stages=[{{kind='network', steps={timed.steps}}}]"
        return read_recipe(path, [f"data.train={data}", "data.workers=0", stage])
    config = config_of(read_recipe(path).model)
    text = {**config.text_config, "bos_token_id": 101, "eos_token_id": 102}
    shown = ", ".join(f"{key} = {json.dumps(value)}" for key, value in text.items())
    is_catseg = isinstance(config, CatSegConfig)
    return read_recipe(
        path,
        [
            f"model.settings.text_config={{{shown}}}",
            *(() if is_catseg else ("model.settings.sam=random",)),
            "towers.model=",
            f"towers.tokenizer={TOKENIZER}",
            f"pictures.sources=[{{data='folder', root='{data}'}}]",
            "pictures.workers=0",
            f"training.steps={timed.steps}",
            "training.batch_size=1",
            "training.dtype=float32",
            "records.tensorboard=false",
            *timed.settings,
        ],
    )


def _plan(recipe: Recipe, data: Path, folder: Path) -> Plan:
    if isinstance(recipe, PicturesRecipe):
        return builder_of(recipe.model.preset).plan(recipe, folder)
    assert isinstance(recipe, MiniRecipe)
    network = Mini(config_of(recipe.model)).eval()
    sources = read_sources([SourceSection(data="folder", root=data)])
    names = NameTexts.of(sources.names, {})
    mini = MiniData(
        sources=sources,
        names=names,
        sentences=torch.randn(len(names.texts), network.text.tower.config.hidden_size),
        captions=None,
        cache=folder,
        workers=0,
    )
    return Plan(
        network=network,
        stages=[NetworkStage(network, mini, recipe.stages[0], seed=0)],
        tokenize=None,
        tokenizer=folder,
        names=sources.names,
        folders=(),
        validate_on=None,
        identity={},
    )


def drawn_pictures(root: Path) -> Path:
    """Pictures of COCO's size with label maps of some of its names."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    source = {"annotated": [*range(len(_NAMES))], "has_background": False}
    table = {"classes": list(_NAMES), "sources": {"drawn": source}}
    (root / "classes.json").write_text(json.dumps(table))
    random = np.random.default_rng(0)
    width, height = _SIZE_WH
    for index in range(_NUM_PICTURES):
        coarse = random.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        picture = Image.fromarray(coarse).resize(_SIZE_WH, Image.Resampling.BICUBIC)
        picture.save(root / "images" / f"drawn__{index}.jpg", quality=90)
        few = random.choice(len(_NAMES), 8, replace=False).astype(np.uint8)
        blocks = few[random.integers(0, len(few), (6, 8))]
        labels = np.kron(blocks, np.ones((height // 6, width // 8), np.uint8))
        Image.fromarray(labels).save(root / "masks" / f"drawn__{index}.png")
    return root


class Kept(Clock):
    """Bytes that each part keeps for the way back, and operations that it computes."""

    def __init__(self, flops: FlopCounterMode) -> None:
        super().__init__()
        self.num_bytes: dict[str, int] = defaultdict(int)
        self.operations: dict[str, int] = defaultdict(int)
        self._flops, self._booked = flops, 0
        self._seen: set[StorageWeakRef] = set()
        self._alive: list[Tensor] = []  # so that no two storages ever have the same number

    def book(self) -> None:
        now = self._flops.get_total_flops()
        if self.stack:
            self.operations[self.stack[-1]] += now - self._booked
        self._booked = now

    @contextmanager
    def keeping(self, network: nn.Module) -> Iterator[None]:
        """Count what is kept inside, but for the weights."""
        self._seen = {
            StorageWeakRef(value.untyped_storage()) for value in network.state_dict().values()
        }
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept):
            yield

    def _pack(self, tensor: Tensor) -> Tensor:
        if (number := StorageWeakRef(tensor.untyped_storage())) not in self._seen:
            self._seen.add(number)
            self._alive.append(tensor)
            self.num_bytes[self.stack[-1]] += tensor.untyped_storage().nbytes()
        return tensor


class _Texts(nn.Module):
    """The text tower on as many names; which, does not matter."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = [network]

    def forward(self, row: Tensor) -> Tensor:
        token = row[:, None].expand(-1, _TOKENS)
        return self._network[0].encode_text(token, torch.ones_like(token))


def count(name: str) -> dict[str, Any]:
    """What one picture's step keeps and computes, found with tensors that have no content."""
    counted = COUNTED[name]
    recipe = read_recipe(ROOT / "recipes" / f"{counted.recipe}.toml", ["towers.model="])
    flops = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
    kept = Kept(flops)
    kept.wrap(pictures.PicturesLoss, "_dense", "loss")
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=recipe.training.dtype == "bfloat16")
    with FakeTensorMode(allow_non_fake_inputs=True):
        network, loss, batch = _one_picture(recipe, counted.names)
        watch(kept, network)
        with flops, kept.of("the rest"):
            with kept.keeping(network), mixed:
                total = loss(batch)
            forward = flops.get_total_flops()
            total.backward()
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    everything = sum(size for size, _ in sizes)
    trained = sum(size for size, is_trained in sizes if is_trained)
    blocks = [size for part, size in kept.num_bytes.items() if part.startswith("block ")]
    again = sum(n for part, n in kept.operations.items() if part.startswith("block "))
    activations = sum(kept.num_bytes.values())
    return {
        "kind": "count",
        "scenario": name,
        "dtype": recipe.training.dtype,
        "parameters": everything,
        "trained_parameters": trained,
        # In float32; of what is trained also gradient, two moments, and the running mean.
        "weight_bytes": 4 * everything + 16 * trained,
        "activation_bytes": activations,
        "activation_bytes_of": {k: round(v) for k, v in _merged(kept.num_bytes).items()},
        "forward_operations": forward,
        "step_operations": flops.get_total_flops(),
        # ESC-Blocks computed twice keep their inputs, which others keep as well; one is at work.
        "checkpointing": {
            "activation_bytes": activations - sum(blocks) + max(blocks),
            "step_operations": flops.get_total_flops() + again,
        }
        if isinstance(network, EscNet)
        else None,
        **_about_here(),
    }


def _one_picture(
    recipe: PicturesRecipe, num_names: int
) -> tuple[Network, nn.Module, pictures.LabelledBatch]:
    config = config_of(recipe.model)
    network = CatSeg(config) if isinstance(config, CatSegConfig) else EscNet(config)
    evidence_weight = recipe.training.evidence_weight
    groups = pictures_groups(
        network, recipe.towers, weight_decay=0.0, has_evidence_loss=evidence_weight > 0
    )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(any(name in group for group in groups.values()))
    loss = pictures.PicturesLoss(network.train(), _Texts(network), recipe.pictures, evidence_weight)
    crop = recipe.pictures.augmentation.crop
    batch = pictures.LabelledBatch(
        image=torch.rand(1, 3, config.image_size, config.image_size),
        target=torch.randint(num_names, (1, crop, crop)),
        row=torch.arange(num_names),
        is_known=torch.ones(1, num_names, dtype=torch.bool),
        share=1.0,
    )
    return network, loss, batch


def _about_here() -> dict[str, Any]:
    return {
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
    }


def main() -> None:
    """Measure or count in child processes, be one of them, or make the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("time", "count"))
    parser.add_argument("parts", nargs="*", help="parts of names of scenarios")
    parser.add_argument("--out", type=Path, help="file to append the lines to")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    known = TIMED if arguments.what == "time" else COUNTED
    if arguments.child:
        make = measure if arguments.what == "time" else count
        print(json.dumps(make(*arguments.parts)))
        return
    for name in known:
        if arguments.parts and not any(part in name for part in arguments.parts):
            continue
        child = [sys.executable, __file__, arguments.what, name, "--child"]
        line = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(line, flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
