"""A service whose workers are stubs, on a port of this machine."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stub_segmenter import LoadStub

from escnet.web.app import make_app
from escnet.web.limits import Limits
from escnet.web.metrics import Metrics
from escnet.web.server import make_server
from escnet.web.service import Service
from escnet.web.worker import Engine
from escnet.web.workers import Workers


@contextmanager
def running_service(
    limits: Limits,
    *,
    token: str | None = None,
    workers: int = 1,
    load: Callable[[], Engine] = LoadStub(),  # noqa: B008 -- frozen
) -> Iterator[str]:
    metrics = Metrics()
    processes = Workers(load, number=max(1, workers), limits=limits, metrics=metrics)
    if workers:
        processes.start()
    started = threading.Event()
    places: list[tuple[str, int]] = []

    def on_start(host: str, port: int) -> None:
        places.append((host, port))
        started.set()

    app = make_app(
        Service.of(processes, limits, metrics), token=token, hosts=("127.0.0.1", "localhost")
    )
    server = make_server(app, processes, limits, host="127.0.0.1", port=0, on_start=on_start)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(60)
        yield f"http://127.0.0.1:{places[0][1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        processes.close()


SMALL = Limits(
    max_bytes=300_000,
    max_batch_bytes=400_000,
    max_pixels=250_000,
    max_names=300,
    max_name_length=100,
    max_names_bytes=20_000,
    max_pictures=4,
    max_jobs=3,
    max_lists=3,
    upload_seconds=1.0,
    seconds=4.0,
    wait_seconds=30.0,
    max_waiting=8,
    requests_per_minute=100_000,
    memory=160 * 2**20,
)
