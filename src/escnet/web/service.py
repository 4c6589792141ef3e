"""What the routes share: one service with its limits, workers and lists."""

import asyncio
import hashlib
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from escnet.web.gate import Gate
from escnet.web.limits import Limits
from escnet.web.messages import Asked, Names
from escnet.web.metrics import Metrics
from escnet.web.requests import Enquiry
from escnet.web.stored_names import StoredNames
from escnet.web.worker import SegmentTask
from escnet.web.workers import Workers

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one service."""

    limits: Limits
    metrics: Metrics
    workers: Workers
    gate: Gate
    stored_names: StoredNames

    @classmethod
    def of(cls, workers: Workers, limits: Limits, metrics: Metrics) -> "Service":
        """A service around worker processes."""
        return cls(
            limits=limits,
            metrics=metrics,
            workers=workers,
            gate=Gate(limits.max_waiting + workers.number, workers),
            stored_names=StoredNames(limits),
        )

    def names_of(self, enquiry: Enquiry) -> Names | bytes:
        """The names that an enquiry gives, or those of the list that it names.

        Raises:
            Refusal: If there is no such list.
        """
        return self.chosen_names(enquiry.names, enquiry.asked.stored_names)

    def chosen_names(self, names: Names | bytes | None, stored: str | None) -> Names | bytes:
        """The names themselves, or those of a stored list.

        Raises:
            Refusal: If there is no such list.
        """
        return self.stored_names.content(str(stored)) if names is None else names

    async def segment(
        self, picture: bytes, names: Names | bytes, asked: Asked, *, is_patient: bool = False
    ) -> bytes:
        """The answer for a picture, as JSON.

        Args:
            picture: The content of its file.
            names: As they came.
            asked: The rest of the request.
            is_patient: Whether a turn is waited for however long it takes.

        Raises:
            Refusal: If the picture or the names are refused, or there was no time or memory.
        """
        task = SegmentTask(picture=picture, names=names, asked=asked)
        key = hashlib.sha256(repr(names).encode()).digest()
        answer: bytes = await self.workers.run(task, key, is_patient=is_patient)
        return answer


async def while_connected(request: Request, work: Coroutine[Any, Any, _Value]) -> _Value:
    """What the work ends with; it is cancelled if the client goes.

    Raises:
        ClientDisconnect: If it has gone.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
