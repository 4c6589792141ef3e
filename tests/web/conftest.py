"""A service of stubs for all tests of a file, and a picture."""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package: for `running`

from running import SMALL, running_service


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
