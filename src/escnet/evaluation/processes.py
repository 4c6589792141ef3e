"""Several processes that share one evaluation, as `torchrun` and `accelerate launch` start them.

They only wait for each other; what they count goes through files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from escnet.errors import EscnetError

_LONGEST_WAIT = timedelta(days=7)  # for the slowest process; one that fails ends the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Which of how many processes this is.

    Attributes:
        rank: From 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process prepares and finishes for all."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has come here.

        Raises:
            EscnetError: If another process has ended, which has said why.
        """
        if self.count > 1:
            import torch.distributed  # noqa: PLC0415 -- see joined_processes

            try:
                torch.distributed.barrier()
            except RuntimeError:
                raise EscnetError(
                    f"process {self.rank} of {self.count} stops because another one has ended: "
                    "see its message, and add --resume to go on"
                ) from None


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that the launcher has started; just this one without a launcher."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    import torch.distributed  # noqa: PLC0415 -- a process alone scores label maps without it

    if torch.cuda.is_available():  # more processes than GPUs share them
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    torch.distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)
    try:
        yield Processes(rank=torch.distributed.get_rank(), count=count)
    finally:
        torch.distributed.destroy_process_group()
