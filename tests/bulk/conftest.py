"""One Ray for the tests of this folder; without Ray they are skipped: `make test-bulk`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.workers import ROOT


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """Ray on two processors, which all jobs of the tests share."""
    module = pytest.importorskip("ray", reason="ray is not installed: make test-bulk")
    from escnet.bulk.cluster import Workforce, ray_cluster

    # Ray gives workers the environment of the process that starts them
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    with ray_cluster(Workforce(workers=2, threads=1)):
        yield module


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Some pictures of plain colours, and a file that is none."""
    from tests.bulk.workers import draw_pictures

    return draw_pictures(tmp_path / "in", 9)
