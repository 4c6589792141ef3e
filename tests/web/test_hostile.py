"""Requests that mean harm, or that broken programs send: one line, the right status, no crash."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hostile_requests import HOSTILE, JSON, PNG, asked, with_picture


@pytest.fixture(autouse=True)
def still_well(http: httpx.Client) -> Iterator[None]:
    yield
    good = http.post("/v1/segment", **with_picture(PNG))
    assert good.status_code == 200, good.text


def _check_problem(response: httpx.Response) -> None:
    """One line of JSON, which speaks of nothing on this machine."""
    text = response.json()["error"]
    assert text
    assert "\n" not in text
    for secret in ("Traceback", "/src/", "/work", "/tmp", "/usr", "/srv", ".py", "site-packages"):  # noqa: S108
        assert secret not in text
    assert len(text) < 500


@pytest.mark.parametrize(("request_", "statuses"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_request_is_refused_in_one_line(
    http: httpx.Client, request_: dict[str, Any], statuses: set[int]
) -> None:
    response = http.post("/v1/segment", **request_)
    assert response.status_code in statuses, response.text
    if response.status_code != 200:
        _check_problem(response)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/names/..%2f..%2fetc%2fpasswd", {404, 422}),
        ("GET", "/v1/names/%2e%2e", {404, 422}),
        ("PUT", "/v1/names/a%00b", {422}),
        ("PUT", "/v1/names/" + "a" * 65, {422}),
        ("PUT", "/v1/names/a%0d%0aX-Injected:%201", {422}),
        ("PUT", "/v1/names/-rf", {422}),
        ("DELETE", "/v1/names/none", {404}),
        ("GET", "/..%2f..%2f..%2fetc/passwd", {404}),
        ("GET", "/%2e%2e/%2e%2e/app.py", {404}),
        ("GET", "//etc/passwd", {404}),
        ("GET", "/docs-files/..%2f..%2f__init__.py", {404}),
        ("GET", "/v1/batch/..%2f..", {404, 422}),
        ("GET", "/v1/batch/none", {404}),
        ("GET", "/v1/batch/none/events", {404}),
        ("GET", "/v1/batch/none/pictures/0", {422}),
        ("GET", "/v1/batch/none/pictures/" + "9" * 30, {422}),
        ("POST", "/v1/models", {405}),
        ("TRACE", "/v1/models", {405}),
        ("BREW", "/", {405}),
        ("GET", "/v1/" + "a" * 30_000, {404}),
    ],
)
def test_a_path_trick_leads_nowhere(
    http: httpx.Client, method: str, path: str, status: set[int]
) -> None:
    response = http.request(method, path, content=b"cat" if method == "PUT" else None)
    assert response.status_code in status, response.text
    assert "x-injected" not in response.headers
    _check_problem(response)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "[::1"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "http://["},
        {"origin": "null"},
    ],
)
def test_a_strangers_page_is_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    response = http.get("/v1/models", headers=headers)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    _check_problem(response)


def _exchange(address: str, sent: bytes, *, seconds: float = 15.0) -> bytes:
    """What comes back until the service closes the connection."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as connection:
        received = b""
        try:
            connection.sendall(sent)
            while piece := connection.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


_LINE = b"POST /v1/segment HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
        _LINE + b"Content-Length: -5\r\n\r\n",
        _LINE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        _LINE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        _LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_by_400_or_nothing(address: str, sent: bytes) -> None:
    answer = _exchange(address, sent)
    assert answer == b"" or answer.split()[1] in {b"400", b"403", b"501"}


def test_a_declared_length_beyond_the_limit_is_refused_at_once(address: str) -> None:
    began = time.monotonic()
    headers = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 999999999999\r\n"
    assert b" 413 " in _exchange(address, _LINE + headers + b"\r\n")[:20]
    assert time.monotonic() - began < 0.9


def test_a_body_without_a_length_is_counted(http: httpx.Client) -> None:
    response = http.post("/v1/segment", content=(bytes(1000) for _ in range(400)), headers=JSON)
    assert response.status_code == 413


def test_a_slow_body_is_refused_in_time(address: str) -> None:
    headers = b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    began = time.monotonic()
    assert b" 408 " in _exchange(address, _LINE + headers)[:20]
    assert 0.8 < time.monotonic() - began < 5


def test_names_of_10_megabytes_are_refused(http: httpx.Client) -> None:
    response = http.put("/v1/names/large", content=b"a" * 10_000_000)
    assert response.status_code == 413


def test_names_are_parsed_by_the_client_as_they_were_sent(http: httpx.Client) -> None:
    name = "<script>alert(1)</script>"
    response = http.post("/v1/segment", **asked(names=[name, 'a"b']))
    assert response.headers["content-type"] == "application/json"
    assert [one["name"] for one in json.loads(response.text)["names"]] == [name, 'a"b']
