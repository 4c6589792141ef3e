"""Batches: several pictures with the same names, followed, fetched and cancelled by their client.

A job's pictures are computed one after the other, so that it leaves room for others. Pictures and
answers lie in files without a name, which are gone with the job.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from escnet.web.limits import Limits
from escnet.web.messages import Asked, JobAnswer, JobPicture, Names
from escnet.web.refusal import Refusal, shortened
from escnet.web.requests import Upload
from escnet.web.service import Service
from escnet.web.spool import Slot, Spool


class Job:
    """One batch.

    Args:
        pictures: Their files.
        names: As they came.
        asked: The rest of the request.

    Attributes:
        id: Hard to guess, as who has it may fetch and cancel.
        is_done: Whether nothing more will change.
    """

    def __init__(self, pictures: list[Upload], names: Names | bytes, asked: Asked) -> None:
        self.id = secrets.token_urlsafe(18)
        self.names, self.asked = names, asked
        self.is_done = False
        self._spool = Spool()
        self._pictures = [self._spool.add(one.content) for one in pictures]
        self._answers: dict[int, Slot] = {}
        self._states = [
            JobPicture(number=number, file=shortened(one.file, 100), status="waiting")
            for number, one in enumerate(pictures, 1)
        ]
        self._change = asyncio.Condition()
        self._events: list[JobPicture] = []
        self._task: asyncio.Task[None] | None = None

    def begin(self, service: Service) -> "asyncio.Task[None]":
        """Let the pictures be computed."""
        self._task = asyncio.get_running_loop().create_task(self._run(service))
        return self._task

    @property
    def told(self) -> JobAnswer:
        """How far it is."""
        return JobAnswer(
            id=self.id,
            status="running" if not self.is_done else "done",
            num_done=sum(state.status in {"done", "failed"} for state in self._states),
            pictures=self._states,
        )

    def answer(self, number: int) -> bytes:
        """A picture's answer as JSON.

        Raises:
            Refusal: If there is none.
        """
        if number in self._answers:
            return self._spool.read(self._answers[number])
        if not 1 <= number <= len(self._states):
            raise Refusal(404, f"the batch has pictures 1 to {len(self._states)}, not {number}")
        state = self._states[number - 1]
        if state.status == "failed":
            raise Refusal(422, state.error or "")
        raise Refusal(409, f"picture {number} is not done yet: ask again", retry_after=1.0)

    async def events(self, beat_seconds: float = 15.0) -> AsyncIterator[JobPicture | None]:
        """Each picture's state as it changes, from the first on; None where nothing happens.

        Args:
            beat_seconds: After which silence is told.
        """
        position = 0
        while True:
            while position < len(self._events):
                yield self._events[position]
                position += 1
            if self.is_done:
                return
            async with self._change:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._change.wait(), beat_seconds)
            if position == len(self._events) and not self.is_done:
                yield None

    async def cancel(self) -> None:
        """Stop it and let its files go."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._end()
        self._spool.close()

    async def _run(self, service: Service) -> None:
        try:
            for number, slot in enumerate(self._pictures, 1):
                await self._tell(number, "running")
                picture = self._spool.read(slot)
                try:
                    answer = await service.segment(picture, self.names, self.asked, is_patient=True)
                except Refusal as refusal:
                    await self._tell(number, "failed", refusal.message)
                else:
                    self._answers[number] = self._spool.add(answer)
                    await self._tell(number, "done")
        finally:
            await self._end()

    async def _tell(self, number: int, status: Any, error: str | None = None) -> None:
        state = self._states[number - 1].model_copy(update={"status": status, "error": error})
        self._states[number - 1] = state
        self._events.append(state)
        async with self._change:
            self._change.notify_all()

    async def _end(self) -> None:
        self.is_done = True
        async with self._change:
            self._change.notify_all()


class Jobs:
    """The batches that there are.

    Args:
        service: Computes them.
        limits: Of their number and time.
    """

    def __init__(self, service: Service, limits: Limits) -> None:
        self._service = service
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._ends: set[asyncio.Task[None]] = set()  # or they could vanish before they are done

    def check_room(self) -> None:
        """See whether there is room for one more.

        Raises:
            Refusal: If there are too many.
        """
        if len(self._jobs) >= self._limits.max_jobs:
            raise Refusal(
                507,
                f"{len(self._jobs)} batches are here, the most there may be: delete one, or wait",
                retry_after=self._limits.job_seconds,
            )

    def add(self, pictures: list[Upload], names: Names | bytes, asked: Asked) -> Job:
        """Begin a job.

        Raises:
            Refusal: If there are too many.
        """
        self.check_room()
        job = Job(pictures, names, asked)
        self._jobs[job.id] = job
        loop = asyncio.get_running_loop()
        job.begin(self._service).add_done_callback(
            lambda _: loop.call_later(self._limits.job_seconds, self._expire, job.id)
        )
        return job

    def _expire(self, job_id: str) -> None:
        """Forget a job that nobody has fetched for long."""
        if job_id in self._jobs:
            task = asyncio.get_running_loop().create_task(self.delete(job_id))
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)

    def get(self, job_id: str) -> Job:
        """A job.

        Raises:
            Refusal: If there is none of this id.
        """
        if job_id not in self._jobs:
            raise Refusal(404, "there is no such batch: it may be over, or was deleted")
        return self._jobs[job_id]

    async def delete(self, job_id: str) -> None:
        """Cancel a job and forget it.

        Raises:
            Refusal: If there is none of this id.
        """
        job = self.get(job_id)
        del self._jobs[job_id]
        await job.cancel()

    async def close(self) -> None:
        """Cancel all."""
        for job_id in list(self._jobs):
            await self.delete(job_id)
