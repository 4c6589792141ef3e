"""What the service counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)


class Metrics:
    """The counters of one service.

    Attributes:
        requests: By route, method and status.
        seconds: From a request's first byte to its answer's last.
        waiting: Requests that wait for a worker.
        running: Tasks that are computed.
        restarts: Worker processes that were stopped or broke, and started again.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "escnet_requests", "Requests", ["route", "method", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "escnet_request_seconds",
            "Time to the answer's end",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.waiting = Gauge("escnet_waiting", "Requests in the queue", registry=self._registry)
        self.running = Gauge("escnet_running", "Tasks in the workers", registry=self._registry)
        self.restarts = Counter(
            "escnet_worker_restarts", "Workers stopped and replaced", registry=self._registry
        )
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All of them in Prometheus's format."""
        return generate_latest(self._registry)
