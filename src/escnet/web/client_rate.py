"""How many requests a minute each client sends: a bucket that fills with time, for each."""

import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

_MOST_CLIENTS = 10_000  # remembered; who is forgotten begins with a full bucket
_IPV6_NETWORK = 64  # bits; one household or server has all addresses below them


class ClientRate:
    """Gives each client so many requests a minute; a quarter of them may come at once.

    Args:
        per_minute: Requests.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_second = per_minute / 60
        self._most = max(1.0, per_minute / 4)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Take a request out of a client's bucket.

        Args:
            address: The client's.

        Returns:
            0, or the seconds to wait if the bucket is empty.
        """
        client, now = _client(address), time.monotonic()
        content, then = self._buckets.pop(client, (self._most, now))
        content = min(self._most, content + (now - then) * self._per_second)
        is_allowed = content >= 1
        self._buckets[client] = (content - 1 if is_allowed else content, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1 - content) / self._per_second


def _client(address: str) -> str:
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is None:
        return str(int(ip) >> (128 - _IPV6_NETWORK))
    return str(ip)
