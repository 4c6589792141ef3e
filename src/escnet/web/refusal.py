"""What the service answers where it does not do what was asked: a status, and one line."""

import math

from escnet.errors import EscnetError, first_line

BUG = "this is an error of the service, and is in its log"


class Refusal(Exception):  # noqa: N818 -- not every one is an error: a full queue is none
    """A request that is not answered.

    Args:
        status: HTTP's number.
        message: What is wrong and the way out, in one line.
        retry_after: Seconds after which it may be tried again.
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self.status, self.message, self.retry_after)

    @property
    def headers(self) -> dict[str, str]:
        """The response's own headers."""
        headers = {"Connection": "close"} if self.status in {408, 413} else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return headers


def _again(status: int, message: str, retry_after: float | None) -> Refusal:
    return Refusal(status, message, retry_after=retry_after)


def refusal_of(error: EscnetError) -> Refusal:
    """What the caller's mistake is to a client: 422 and the message."""
    return Refusal(422, " ".join(str(error).split()))


def shortened(text: str, most: int = 60) -> str:
    """A client's own text for a message: on one line, printable, and not long."""
    text = text if len(text) <= most else text[: most - 3] + "..."
    return text if text.isprintable() else ascii(text)


def parse_refusal(where: str, error: Exception) -> Refusal:
    """What a request is answered that cannot be read."""
    return Refusal(400, f"{where} cannot be read ({shortened(first_line(error), 120)})")
