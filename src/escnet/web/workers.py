"""The worker processes, the queue before them, and the watch over each task.

A task that takes too long, or a process that takes too much memory, is stopped by killing the
process, as nothing else stops a computation inside a library for certain; a new process takes its
place. See docs/adr/0016-requests-are-stopped-by-killing.md.
"""

import asyncio
import logging
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from escnet.errors import ConfigError
from escnet.web.limits import Limits
from escnet.web.messages import ModelAnswer
from escnet.web.metrics import Metrics
from escnet.web.refusal import BUG, Refusal
from escnet.web.worker import Engine, Task, work

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
_START_SECONDS = 300.0
_PAUSE_SECONDS = 1.0  # before a start is tried again
_PAGE = 4096
_STOPPING = "the service is stopping: ask again when it is back"


class Worker:
    """One worker process, as its thread sees it; methods block.

    Args:
        load: Makes what computes, in the process.
        limits: Of time and memory.

    Attributes:
        about: The model, once the process has started.
        last_key: Of the task that it did last.
    """

    def __init__(self, load: Callable[[], Engine], limits: Limits) -> None:
        self._load = load
        self._limits = limits
        self._start_seconds = 0.0
        self._process: multiprocessing.process.BaseProcess | None = None
        self.about: ModelAnswer | None = None
        self.last_key: Hashable = None

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.is_alive()

    def start(self) -> ModelAnswer:
        """Start the process and wait until the model is there.

        Raises:
            ConfigError: If it cannot be loaded, in the words of the command line.
        """
        began = time.monotonic()
        context = multiprocessing.get_context("spawn")  # threads and forks do not mix
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(theirs, self._load, self._limits), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            if not self._pipe.poll(_START_SECONDS):
                raise EOFError
            kind, value = self._pipe.recv()
        except (EOFError, OSError):
            self.kill()
            raise ConfigError("a worker process ended as it started: is there memory?") from None
        if kind != "done":
            self.kill()
            raise ConfigError(value.message)
        self.about, self.last_key = value, None
        self._start_seconds = time.monotonic() - began
        return self.about

    def run(self, task: Task, stop: threading.Event) -> Any:
        """The value of a task.

        Args:
            task: What to do.
            stop: Set when nobody waits for it any more.

        Raises:
            Refusal: If the task is refused, or was stopped.
        """
        try:
            if not self.is_alive:  # somebody else has ended it
                self.start()
            self._pipe.send(task)
            self._watch(stop)
            kind, value = self._pipe.recv()
        except (EOFError, OSError):
            self.kill()
            raise Refusal(
                500, "the picture ended the process that computed it: give another, or report it"
            ) from None
        except ConfigError as error:
            _log.error("a worker process did not start: %s", error)
            raise Refusal(503, "the model is not loaded: ask again", retry_after=5.0) from None
        if kind == "refused":
            raise value
        if kind == "failed":
            _log.error("a task failed: %s", value)
            raise Refusal(500, BUG)
        return value

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()

    def _watch(self, stop: threading.Event) -> None:
        """Wait for the answer, within the limits."""
        seconds = self._limits.seconds
        ends = time.monotonic() + seconds
        is_asked_for = True
        while not self._pipe.poll(_LOOK_SECONDS):
            now = time.monotonic()
            if is_asked_for and stop.is_set():
                # Its client is gone. Let it end if that is sooner than a new process would be here.
                is_asked_for, ends = False, min(ends, now + self._start_seconds)
            if now > ends:
                self.kill()
                raise Refusal(
                    504,
                    f"computing took more than {seconds:g} seconds and was stopped: give a smaller "
                    "picture or fewer names",
                )
            if self._memory() > self._limits.memory:
                self.kill()
                raise Refusal(
                    413,
                    f"computing took more than {self._limits.memory / 2**20:.0f} MiB of memory and "
                    "was stopped: give a smaller picture or fewer names",
                )

    def _memory(self) -> int:
        """Bytes that the process has in memory; 0 where the system does not tell."""
        with suppress(OSError, ValueError, IndexError, AttributeError):
            status = Path(f"/proc/{self._process.pid}/statm").read_text("ascii")  # type: ignore[union-attr]
            return int(status.split()[1]) * _PAGE
        return 0


class Workers:
    """All worker processes, and who waits for one.

    Args:
        load: Makes what computes, in each process.
        number: Of processes.
        limits: The service's.
        metrics: Are told of waiting, computing and stopping.

    Attributes:
        about: The model; None before `start`.
    """

    def __init__(
        self, load: Callable[[], Engine], *, number: int, limits: Limits, metrics: Metrics
    ) -> None:
        self._all = [Worker(load, limits) for _ in range(number)]
        self._idle: list[Worker] = []
        self._waiting: deque[tuple[Hashable, asyncio.Future[Worker]]] = deque()
        self._limits = limits
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="worker")
        self._returns: set[asyncio.Task[None]] = set()
        self._mean_seconds = 1.0
        self._num_running = 0
        self.about: ModelAnswer | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start every process; blocks.

        Raises:
            ConfigError: If the model cannot be loaded.
        """
        try:
            starts = [self._threads.submit(worker.start) for worker in self._all]
            models = [start.result() for start in starts]
        except BaseException:
            self.close()
            raise
        self.about, self._idle = models[0], list(self._all)

    @property
    def number(self) -> int:
        """Of processes."""
        return len(self._all)

    @property
    def is_stopping(self) -> bool:
        """Whether no task is taken any more."""
        return self._stopping.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether a process is there that computes."""
        return not self.is_stopping and any(worker.is_alive for worker in self._all)

    @property
    def wait_estimate(self) -> float:
        """Seconds until who comes now would have an answer, about."""
        num_before = len(self._waiting) + self._num_running
        return min(60.0, self._mean_seconds * (1 + num_before / len(self._all)))

    async def run(self, task: Task, key: Hashable = None, *, is_patient: bool = False) -> Any:
        """The value of a task, whose turn is waited for; cancelling it stops it.

        Args:
            task: What to do.
            key: Tasks of equal keys go to one process, if it is free, as it has the names' text
                embeddings.
            is_patient: Whether its turn is waited for however long it takes.

        Raises:
            Refusal: If the task is refused, was stopped, or has waited too long.
        """
        worker = await self._free_worker(key, None if is_patient else self._limits.wait_seconds)
        stop, began = threading.Event(), time.monotonic()
        self._num_running += 1
        self._metrics.running.set(self._num_running)
        worker.last_key = key
        loop = asyncio.get_running_loop()
        computing = loop.run_in_executor(self._threads, worker.run, task, stop)
        computing.add_done_callback(lambda _: self._take_back(worker, began))
        try:
            return await asyncio.shield(computing)
        except asyncio.CancelledError:
            stop.set()
            computing.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    async def _free_worker(self, key: Hashable, seconds: float | None) -> Worker:
        if self.is_stopping:
            raise Refusal(503, _STOPPING, retry_after=10.0)
        if self._idle:
            same = [worker for worker in self._idle if worker.last_key == key]
            worker = (same or self._idle)[0]
            self._idle.remove(worker)
            return worker
        turn: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        place = (key, turn)
        self._waiting.append(place)
        self._metrics.waiting.set(len(self._waiting))
        try:
            await asyncio.wait({turn}, timeout=seconds)
        except asyncio.CancelledError:
            if turn.done() and turn.exception() is None:
                self._give(turn.result())  # its turn came as the client went
            raise
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
            self._metrics.waiting.set(len(self._waiting))
        if turn.done():
            return turn.result()
        raise Refusal(
            503, "too many wait before this request: ask again", retry_after=self.wait_estimate
        )

    def _take_back(self, worker: Worker, began: float) -> None:
        """A worker has done its task, or was killed over it."""
        self._num_running -= 1
        self._metrics.running.set(self._num_running)
        self._mean_seconds += 0.2 * (time.monotonic() - began - self._mean_seconds)
        if worker.is_alive:
            self._give(worker)
        elif not self.is_stopping:
            self._metrics.restarts.inc()
            task = asyncio.get_running_loop().create_task(self._restart(worker))
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)

    async def _restart(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            try:
                await loop.run_in_executor(self._threads, worker.start)
            except ConfigError as error:
                if self._stopping.is_set():  # which ended it
                    return
                _log.error("a worker process did not start again: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._give(worker)
                return
        worker.kill()  # it had started as the service stopped

    def _give(self, worker: Worker) -> None:
        """To who has waited longest."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(worker)
                return
        self._idle.append(worker)

    def refuse_waiting(self) -> None:
        """Take no task any more, and let those that wait go."""
        self._stopping.set()
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(Refusal(503, _STOPPING, retry_after=10.0))

    def close(self) -> None:
        """End every process at once."""
        self._stopping.set()
        for worker in self._all:
            worker.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)
