"""The processes of a run, and the part of each batch that one of them works on."""

from dataclasses import dataclass, field
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from escnet.errors import ConfigError
from escnet.inference.machine.device import quick_dtype
from escnet.training.recipe import Schedule, TrainingSection

_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
_LONGEST_WAIT = timedelta(hours=6)  # for a process that computes features or scores alone


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

    def numbers(self, schedule: Schedule, start: int) -> list[list[int]]:
        """For each step of a stage, from that one on, the numbers of this process's pictures."""
        size = schedule.batch_size
        return [
            [step * size + place for place in self.of(size)]
            for step in range(start, schedule.steps)
        ]


def dtype_of(training: TrainingSection) -> str:
    """What matrix products are computed in, on this machine."""
    if training.dtype != "auto":
        return training.dtype
    device = torch.accelerator.current_accelerator(check_available=True)
    return quick_dtype("cpu" if device is None else device.type)


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
        mixed_precision=_PRECISION[dtype_of(training)],
        kwargs_handlers=[
            # A step of an alignment does not reach everything; buffers follow from the step alone.
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=_LONGEST_WAIT),
        ],
    )
