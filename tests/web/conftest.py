"""A service of stubs, on a port of this machine."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package: for `stub_segmenter`

from stub_segmenter import LoadStub

from escnet.web.app import make_app
from escnet.web.limits import Limits
from escnet.web.metrics import Metrics
from escnet.web.server import make_server
from escnet.web.service import Service
from escnet.web.workers import Workers


@contextmanager
def running_service(limits: Limits, *, token: str | None = None, workers: int = 1) -> Iterator[str]:
    metrics = Metrics()
    processes = Workers(LoadStub(), number=max(1, workers), limits=limits, metrics=metrics)
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
        assert started.wait(20)
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


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with running_service(SMALL) as url:
        yield url


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    return np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


@pytest.fixture(scope="session")
def png(pixels: np.ndarray) -> bytes:
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
