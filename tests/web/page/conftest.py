"""A browser, and the service with the built-in model, for all tests of the page."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from shutil import which
from typing import Any

import pytest
from person import Person

from escnet.weights.catalog import BUILT_IN_FOLDER

_CHROMIUM = which("chromium") or which("google-chrome")
_WIDE = {"width": 1600, "height": 1000}


def _reason() -> str:
    if _CHROMIUM is None:
        return "there is no Chromium: apt-get install chromium"
    if not (BUILT_IN_FOLDER / "config.json").exists():
        return "the built-in model is not in this checkout"
    return ""


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The address of `escnet serve` with the built-in model."""
    if reason := _reason():
        pytest.skip(reason)
    command = [sys.executable, "-m", "escnet", "serve", "--port", "0", "--threads", "1"]
    command += ["--requests-per-minute", "100000"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as own:
        assert own.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", own.stdout.readline())
        assert address
        yield address[0]
        own.terminate()
        assert own.wait(60) == 0


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="see `make test-page`")
    if reason := _reason():
        pytest.skip(reason)
    with playwright.sync_playwright() as starter:
        own = starter.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield own
        own.close()


@pytest.fixture
def visit(browser: Any, service: str) -> Iterator[Callable[..., Person]]:
    """Opens the page as somebody new; nothing may go wrong there, or go to another host."""
    people: list[Person] = []

    def open_page(path: str = "/", **context: Any) -> Person:
        person = Person(browser.new_context(**({"viewport": _WIDE} | context)), service)
        people.append(person)
        person.go(path)
        return person

    yield open_page
    for person in people:
        person.page.context.close()
        assert person.problems == []
        assert {address for address in person.asked if not address.startswith(service)} == set()


@pytest.fixture
def person(visit: Callable[..., Person]) -> Person:
    return visit()
