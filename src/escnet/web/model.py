"""The model that worker processes load: a `Segmenter`, imported there and nowhere else."""

from dataclasses import dataclass

from escnet.inference.calibration import Calibrated
from escnet.web.worker import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModel:
    """Makes a worker's segmenter; it is sent to the process and called there.

    Attributes:
        model: As in `Segmenter.load`, like the rest.
        device: What it computes on.
        dtype: What it computes in.
        threads: CPU threads of a process; None shares the processors out among the workers.
        num_workers: How many processes there are.
        calibration: What its confidences are by; None for the model's own.
    """

    model: str
    device: str
    dtype: str
    threads: int | None
    num_workers: int
    calibration: Calibrated = None

    def __call__(self) -> Engine:
        """The segmenter.

        Raises:
            WeightsError: If the weights are not here, damaged, or of another kind.
            ConfigError: If the device is not there.
        """
        import escnet  # noqa: PLC0415 -- only in the worker's process
        from escnet.inference.machine.threads import usable_processors  # noqa: PLC0415

        threads = self.threads or max(1, usable_processors() // self.num_workers)
        return escnet.Segmenter.load(
            self.model,
            device=self.device,
            dtype=self.dtype,
            calibration=self.calibration,
            threads=threads,
        )
