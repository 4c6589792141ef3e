"""The process of `escnet serve`: it listens, and on SIGTERM finishes what runs and ends with 0."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import socket
from threading import current_thread, main_thread
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from escnet.web.door import Door
from escnet.web.limits import Limits
from escnet.web.workers import Workers

_HEADER_SECONDS = 10.0
_HEADER_BYTES = 64 * 2**10
_CONNECTIONS = 1000
_DRAIN_SECONDS = 5  # beyond what a running request may take


class _HeadersInTime(H11Protocol):
    """HTTP/1.1 whose clients have some seconds to send a request's headers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(_HEADER_SECONDS, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if getattr(self, "cycle", None) is None and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """A server that ends with 0 when it is asked to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_start: Callable[[str, int], None],
        on_exit: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_exit = on_exit

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start(*self.servers[0].sockets[0].getsockname()[:2])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own it does not raise the signal again afterwards."""
        if current_thread() is not main_thread():  # which alone gets signals
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        with suppress(RuntimeError):  # the loop does not run yet
            asyncio.get_running_loop().call_soon_threadsafe(self._on_exit)


def make_server(
    app: Door,
    workers: Workers,
    limits: Limits,
    *,
    host: str,
    port: int,
    on_start: Callable[[str, int], None],
    proxies: str | None = None,
) -> uvicorn.Server:
    """A server whose `run` serves until SIGTERM or Ctrl-C.

    Args:
        app: What answers.
        workers: Have started; as the server is asked to end, those who wait for them are refused.
        limits: Of the time that is left to what runs.
        host: An address of this machine.
        port: 0 for any that is free.
        on_start: Is told the address and the port as requests can come.
        proxies: Addresses of proxies whose word for a client's address counts; None for none.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_HeadersInTime,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies or "",
        h11_max_incomplete_event_size=_HEADER_BYTES,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=int(limits.seconds) + _DRAIN_SECONDS,
    )
    return _Server(config, on_start, workers.refuse_waiting)
