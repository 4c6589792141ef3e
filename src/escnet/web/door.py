"""What every request passes: who asks, how often, how much comes and how slowly, what may leave.

Nothing of a request's content is logged or kept here. Errors leave as one line of JSON, without a
path of this machine and without a traceback.
"""

import hmac
import json
import logging
import time
from asyncio import get_running_loop, timeout_at
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from escnet.web.client_rate import ClientRate
from escnet.web.limits import Limits
from escnet.web.metrics import Metrics
from escnet.web.refusal import BUG, Refusal, shortened

_log = logging.getLogger(__name__)

_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_DOCS_POLICY = f"{_POLICY}; style-src 'self' 'unsafe-inline'"  # of the interface's own page
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Door:
    """The outermost application.

    Args:
        app: What answers.
        limits: Of bytes, seconds and requests.
        metrics: Are told of each request.
        token: What clients have to show; None lets everyone in.
        hosts: The names by which the service may be called; None for any. Without a token it must
            not be called by a name that a stranger's page has given to this machine's address.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        metrics: Metrics,
        token: str | None,
        hosts: Collection[str] | None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._token = token
        self._hosts = hosts
        self._rate = ClientRate(limits.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        leaving = _Leaving(scope, send)
        began = time.monotonic()
        try:
            self._check(scope)
            await self._app(scope, self._entering(scope, receive), leaving.send)
        except Refusal as refusal:
            await leaving.refuse(refusal)
        except ClientDisconnect:
            pass
        except Exception:  # noqa: BLE001 -- whatever it is, its text stays here
            _log.exception("a request failed")
            await leaving.refuse(Refusal(500, BUG))
        finally:
            self._count(scope, leaving.status, time.monotonic() - began)

    def _check(self, scope: Scope) -> None:
        """Refuse who may not come in.

        Raises:
            Refusal: If so.
        """
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if self._hosts is not None and _place(f"//{host}")[0] not in self._hosts:
            raise Refusal(
                403, f"host {shortened(host)!r} is not this service: call it by its address"
            )
        origin = headers.get(b"origin")
        if origin is not None and _place(origin)[1] != host:
            raise Refusal(403, "pages of another origin may not use this service")
        if any(part in {"..", "."} for part in scope["path"].split("/")):
            raise Refusal(404, "not found: see /docs")
        if not scope["path"].startswith("/v1") and scope["path"] != "/metrics":
            return
        if wait := self._rate.take((scope.get("client") or ("", 0))[0]):
            raise Refusal(
                429,
                f"more than {self._limits.requests_per_minute} requests a minute: wait a little",
                retry_after=wait,
            )
        if self._token is not None:
            shown = headers.get(b"authorization", "")
            if not hmac.compare_digest(shown.encode(), f"Bearer {self._token}".encode()):
                raise Refusal(401, "this service needs its token: send Authorization: Bearer TOKEN")

    def _entering(self, scope: Scope, receive: Receive) -> Receive:
        """The request's body, as long as it is small and quick enough."""
        most = self._limits.max_bytes
        if scope["path"] in {"/v1/batch", "/v1/export"}:
            most = self._limits.max_batch_bytes
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = Refusal(
            413, f"request is larger than {most / 2**20:g} MiB: send a smaller picture"
        )
        ends = get_running_loop().time() + self._limits.upload_seconds
        num_bytes, is_whole = 0, False

        async def limited() -> Message:
            nonlocal num_bytes, is_whole
            if is_whole:
                return await receive()  # waits until the client goes
            if declared.isdigit() and int(declared[:20]) > most:
                raise too_large
            try:
                async with timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise Refusal(
                    408,
                    f"request took more than {self._limits.upload_seconds:g} seconds to come: "
                    "send a smaller picture",
                ) from None
            num_bytes += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if num_bytes > most:
                raise too_large
            return message

        return limited

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        known = {"GET", "HEAD", "POST", "PUT", "DELETE"}
        method = scope["method"] if scope["method"] in known else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)


def _place(url: str) -> tuple[str, str]:
    """A URL's host, and the host with its port; empty if it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.hostname or "", parts.netloc


class _Leaving:
    """The response, with the headers that all have."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.status = 499  # as it is logged elsewhere, too, if the client goes first

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            path = self._scope["path"]
            policy = _DOCS_POLICY if path == "/docs" else _POLICY
            own = {**_HEADERS, "Content-Security-Policy": policy}
            if path.startswith("/v1"):
                own["Cache-Control"] = "no-store"
            added = [(name.lower().encode(), value.encode()) for name, value in own.items()]
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Send it, if nothing has been sent."""
        if self.status != 499:
            return
        content = json.dumps({"error": refusal.message}).encode()
        headers: list[Any] = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        headers += [(name.lower().encode(), v.encode()) for name, v in refusal.headers.items()]
        await self.send(
            {"type": "http.response.start", "status": refusal.status, "headers": headers}
        )
        await self._send({"type": "http.response.body", "body": content})
