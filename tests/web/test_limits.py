"""Time, memory, the queue, the rate, the token: each limit has its status and harms nobody else."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from running import SMALL, running_service
from stub_segmenter import PLACE, LoadStub

from escnet.errors import ConfigError
from escnet.web.metrics import Metrics
from escnet.web.workers import Workers


def _segment(url: str, png: bytes, names: str, **fields: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/segment",
        files={"picture": ("a.png", png)},
        data={"names": names, **fields},
        timeout=30,
    )


def test_what_takes_too_long_is_stopped_and_the_next_is_answered(address: str, png: bytes) -> None:
    began = time.monotonic()
    response = _segment(address, png, "sleep 60")
    assert response.status_code == 504
    assert "4 seconds" in response.json()["error"]
    assert time.monotonic() - began < 10
    assert _segment(address, png, "cat").status_code == 200


def test_what_takes_too_much_memory_is_stopped(address: str, png: bytes) -> None:
    response = _segment(address, png, "hunger")
    assert response.status_code == 413
    assert "160 MiB" in response.json()["error"]
    assert _segment(address, png, "cat").status_code == 200


def test_a_process_that_crashes_is_replaced(address: str, png: bytes) -> None:
    assert _segment(address, png, "crash").status_code == 500
    assert _segment(address, png, "cat").status_code == 200


def test_an_error_of_ours_stays_in_the_log(
    address: str, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    response = _segment(address, png, "bug")
    assert response.status_code == 500
    assert PLACE not in response.text
    assert "RuntimeError" not in response.text
    assert PLACE in caplog.text


def test_a_client_that_goes_lets_the_next_have_its_turn(address: str, png: bytes) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{address}/v1/segment",
            files={"picture": png},
            data={"names": "sleep 0.5"},
            timeout=0.2,
        )
    assert _segment(address, png, "cat").status_code == 200


def test_fifty_clients_at_once_get_an_answer_or_a_503(png: bytes) -> None:
    with running_service(SMALL, workers=2) as url, ThreadPoolExecutor(50) as pool:
        names = ["sleep 0.2, cat", "sleep 0.2, dog"] * 25
        answers = list(pool.map(lambda own: _segment(url, png, own), names))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) >= SMALL.max_waiting
        assert statuses.count(503) >= 1
        for own, answer in zip(names, answers, strict=True):
            if answer.status_code == 200:
                assert [one["name"] for one in answer.json()["names"]] == own.split(", ")
            else:
                assert int(answer.headers["retry-after"]) >= 1
        counts = httpx.get(f"{url}/metrics").text
        assert f'route="/v1/segment",status="200"}} {statuses.count(200)}.0' in counts
        assert "escnet_waiting 0.0" in counts
        assert "escnet_running 0.0" in counts


def test_who_waits_too_long_is_told_to_come_again(png: bytes) -> None:
    limits = replace(SMALL, wait_seconds=0.1)
    with running_service(limits) as url, ThreadPoolExecutor(2) as pool:
        statuses = list(
            pool.map(lambda names: _segment(url, png, names).status_code, ["sleep 0.6"] * 2)
        )
    assert sorted(statuses) == [200, 503]


def test_a_model_that_cannot_be_loaded_is_said_before_anything_is_served() -> None:
    load = LoadStub("weights are not here: fetch them")
    workers = Workers(load, number=1, limits=SMALL, metrics=Metrics())
    with pytest.raises(ConfigError, match="fetch them"):
        workers.start()


def test_requests_a_minute_are_counted_for_each_client() -> None:
    with running_service(replace(SMALL, requests_per_minute=20), workers=0) as url:
        answers = [httpx.get(f"{url}/v1/models") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].headers["retry-after"] in {"1", "2", "3"}
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_without_the_token_nobody_comes_in() -> None:
    with running_service(SMALL, token="t" * 20, workers=0) as url:
        for path in ("/v1/models", "/v1/names", "/metrics", "/v1/batch/x"):
            assert httpx.get(url + path).status_code == 401
            wrong = {"authorization": "Bearer " + "t" * 19}
            assert httpx.get(url + path, headers=wrong).status_code == 401
        right = {"authorization": "Bearer " + "t" * 20}
        assert httpx.get(f"{url}/v1/models", headers=right).status_code == 200
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").json() == {"status": "starting"}
