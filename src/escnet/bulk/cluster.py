"""Parts of a job on the workers of a Ray cluster, by Ray Data.

A worker is an actor of Ray Data: it loads a model once and then answers one part after the other.
One that is killed is started again and gets its part again. A part whose worker is killed time
after time is given up, and the others go on.

Ray's object store holds parts and answers, which are lists of paths and of numbers; pictures never
pass through it. So it may be small, and so may /dev/shm.
"""

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from escnet.errors import ConfigError, EscnetError, first_line, setting
from escnet.extras import module_of_extra
from escnet.inference.machine.threads import check_threads, usable_processors

_RETRIES = 3  # of a part whose worker is killed
_PARTS_IN_FLIGHT = 2  # for each worker, so that none waits for the next one
_OBJECT_STORE_BYTES = 100 * 2**20  # of a cluster that is started here; Ray's least is 75 MB
_QUIET = {  # of a process that starts or joins a cluster, unless its user says otherwise
    "RAY_USAGE_STATS_ENABLED": "0",  # telemetry
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning at each start
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 would lose to every other process
}

Answer = Callable[[Any, bool], Any]


@runtime_checkable
class PartTask(Protocol):
    """What workers do; it is pickled to get there."""

    def start(self, threads: int) -> Answer:
        """Load what takes long, and give what is called with each part.

        The second argument says whether the part may have been begun by a worker that was killed.

        Args:
            threads: CPU threads that the worker may compute with.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Workforce:
    """Which workers a job has.

    Attributes:
        address: Of a Ray cluster, such as "auto"; None starts one on this machine.
        workers: How many; None for one on each GPU, or else as many as there are processors for.
        threads: CPU threads of each; None for one, or for a share of the processors if `workers`
            says how many there are.
        uses_gpu: Whether each worker has a GPU of its own, where the cluster has some.

    Raises:
        ConfigError: If a number is out of range.
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    uses_gpu: bool = True

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"{setting('workers')} {self.workers} do no work: give 1 or more")
        if self.address is not None and not self.address.strip():
            raise ConfigError(f"{setting('address')} is empty: give auto or HOST:PORT")


class Crew(NamedTuple):
    """Workers as a cluster has them.

    Attributes:
        workers: How many.
        threads: CPU threads of each.
        gpus: GPUs of each.
    """

    workers: int
    threads: int
    gpus: int


@contextmanager
def ray_cluster(workforce: Workforce) -> Iterator[Crew]:
    """A connection to a cluster, and the workers that it is going to have.

    A process that is connected already stays so.

    Raises:
        ConfigError: If Ray is not installed, no cluster is at the address, or it is too small.
        EscnetError: If Ray cannot be started.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray = module_of_extra("ray", "ray")
    module_of_extra("ray.data", "ray")
    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(ray, workforce)
    try:
        # Ray tells standard output of each worker that dies, where the command's own answer belongs
        with redirect_stdout(StringIO()):
            yield _crew(ray.cluster_resources(), workforce)
    finally:
        if is_ours:
            ray.shutdown()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Let go nowhere what Ray's own threads say of its settings as they start."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 -- no path
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _connect(ray: Any, workforce: Workforce) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if workforce.address is None:
        _start(ray, workforce, quiet)
        return
    try:
        with _without_stderr():
            ray.init(address=workforce.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {workforce.address!r} ({first_line(error)}): start "
            "one with `ray start --head`, with the same token of Ray's here, or leave --address out"
        ) from None


def _start(ray: Any, workforce: Workforce, quiet: dict[str, Any]) -> None:
    here = {"CPU": float(max(usable_processors(), workforce.workers or 1))}
    crew = _crew(here, workforce)
    try:
        with _without_stderr():
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=crew.workers * crew.threads,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
    except Exception as error:  # Ray has no narrower one
        raise EscnetError(
            f"Ray cannot be started on this machine ({first_line(error)}): end other work and try "
            "again, or leave --engine ray out"
        ) from error


def _crew(resources: dict[str, float], workforce: Workforce) -> Crew:
    """The workers that fit."""
    processors = max(1, int(resources.get("CPU", 1)))
    gpus = int(resources.get("GPU", 0)) if workforce.uses_gpu else 0
    workers, threads = workforce.workers, workforce.threads
    if gpus:
        workers = workers or gpus
        if workers > gpus:
            raise ConfigError(
                f"--workers {workers} are more than the cluster's {gpus} GPUs: give fewer, or "
                "--device cpu"
            )
    if threads is None:
        threads = 1 if workers is None else max(1, processors // workers)
    workers = workers or max(1, processors // threads)
    if threads > processors:
        raise ConfigError(
            f"a worker of {threads} threads does not fit a cluster of {processors} processors: "
            "give fewer --threads"
        )
    return Crew(workers, threads, 1 if gpus else 0)


def answers_of(
    parts: Sequence[Any], task: PartTask, crew: Crew
) -> Iterator[tuple[int, Any | None]]:
    """What the workers say of each part, with its number from 0, in the order of their answers.

    Parts that were given up come last, with None.

    Args:
        parts: Whatever the task's `start` gives takes; they are pickled.
        task: What workers do.
        crew: The workers.

    Raises:
        EscnetError: That a worker has raised.
    """
    data = module_of_extra("ray.data", "ray")
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows = [{"number": number, "part": pickle.dumps(part)} for number, part in enumerate(parts)]
    with warnings.catch_warnings(action="ignore"):  # of what Ray 2.64 lets no longer be said
        answers = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Worker,
            batch_size=1,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(
                size=min(crew.workers, len(rows)), max_tasks_in_flight_per_actor=_PARTS_IN_FLIGHT
            ),
            num_cpus=crew.threads,
            num_gpus=crew.gpus,
            max_task_retries=_RETRIES,
            fn_constructor_args=(pickle.dumps(task), crew.threads, str(Path.cwd())),
        )
    missing = set(range(len(rows)))
    for row in answers.iter_rows():
        answer = pickle.loads(row["answer"])  # noqa: S301 -- of our own worker
        if isinstance(answer, BaseException):
            raise answer
        missing.discard(row["number"])
        yield row["number"], answer
    yield from ((number, None) for number in sorted(missing))


class _Worker:
    """An actor of Ray Data.

    Args:
        task: What it does, pickled.
        threads: CPU threads that it may compute with.
        folder: The one that relative paths count from.
    """

    def __init__(self, task: bytes, threads: int, folder: str) -> None:
        with suppress(OSError):  # a machine without it has the buckets and the absolute paths
            os.chdir(folder)
        self._task = task
        self._threads = threads
        self._answer: Answer | None = None
        ray = module_of_extra("ray", "ray")
        self._is_second = bool(ray.get_runtime_context().was_current_actor_reconstructed)

    def __call__(self, batch: Any) -> Any:
        """The answers to one batch of parts."""
        answers = [self._answered(pickle.loads(part)) for part in batch["part"].to_pylist()]  # noqa: S301
        table = module_of_extra("pyarrow", "ray").table
        return table({"number": batch["number"], "answer": answers})

    def _answered(self, part: Any) -> bytes:
        try:
            if self._answer is None:
                task = pickle.loads(self._task)  # noqa: S301 -- of our own driver
                self._answer = task.start(self._threads)
            return pickle.dumps(self._answer(part, self._is_second))
        except Exception as error:  # noqa: BLE001 -- it is raised again where the job was started
            return pickle.dumps(error)
