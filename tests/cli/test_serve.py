import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from escnet.cli.main import run
from escnet.weights.catalog import BUILT_IN_FOLDER

ROOT = Path(__file__).parents[2]


def _error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["serve", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_another_host_needs_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--token-file" in _error(capsys, "--host", "0.0.0.0")  # noqa: S104


@pytest.mark.parametrize("token", ["", "short", "two words of enough letters"])
def test_a_token_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, token: str
) -> None:
    path = tmp_path / "token"
    path.write_text(token, encoding="utf-8")
    assert "letters and digits" in _error(capsys, "--token-file", str(path))
    assert "does not exist" in _error(capsys, "--token-file", str(tmp_path / "none"))


@pytest.mark.parametrize(
    "option",
    [("--max-bytes", "much"), ("--max-bytes", "0"), ("--seconds", "0"), ("--max-pixels", "-1")],
)
def test_a_limit_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    assert option[0] in _error(capsys, *option)


@pytest.mark.skipif(
    not (BUILT_IN_FOLDER / "config.json").exists(),
    reason="the built-in model is not in this checkout",
)
def test_a_port_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    assert capsys.readouterr().err == f"escnet: port {port} is taken: choose another with --port\n"


def test_sigterm_finishes_what_runs_and_refuses_the_rest_and_exits_with_0() -> None:
    command = [sys.executable, "-m", "escnet", "serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as own:
        assert own.stdout is not None
        line = own.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None, line
        url = found[0]
        content = (ROOT / "examples/coffee.jpg").read_bytes()
        statuses: list[int] = []

        def ask() -> None:
            form = {"files": {"picture": content}, "data": {"names": "cup, table"}}
            statuses.append(httpx.post(f"{url}/v1/segment", timeout=60, **form).status_code)

        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        while "escnet_waiting 2.0" not in httpx.get(f"{url}/metrics").text:
            assert not statuses
        os.kill(own.pid, signal.SIGTERM)
        for asker in askers:
            asker.join(60)
        assert sorted(statuses) == [200, 503, 503]
        assert own.wait(30) == 0
        assert own.stderr is not None
        assert own.stderr.read() == ""
