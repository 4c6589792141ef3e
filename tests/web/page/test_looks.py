"""How the page looks, for whom, and what it may load."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from person import Person

pytestmark = pytest.mark.slow

AXE = Path(__file__).parents[3] / "build" / "page" / "node_modules" / "axe-core" / "axe.min.js"
_SERIOUS = {"serious", "critical"}
_RUN_AXE = "async () => (await axe.run()).violations.map((v) => [v.id, v.impact, v.nodes.length])"


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: make test-page")
@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1600])
def test_axe_finds_nothing_serious(visit: Callable[..., Person], look: str, width: int) -> None:
    person = visit(
        viewport={"width": width, "height": 900},
        color_scheme=look,
        bypass_csp=True,  # for axe, which is no part of the page
    )
    _check_with_axe(person)
    person.page.locator("#samples button").first.click()
    person.wait()
    person.page.click('[data-tool="brush"]')
    _check_with_axe(person)
    person.page.click("#open-download")
    _check_with_axe(person)
    person.page.click("#download-cancel")
    person.page.click("#open-help")
    _check_with_axe(person)


def _check_with_axe(person: Person) -> None:
    person.settle()
    person.page.evaluate(AXE.read_text(encoding="utf-8"))
    faults = person.page.evaluate(_RUN_AXE)
    assert [fault for fault in faults if fault[1] in _SERIOUS] == []


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("path", ["/", "/examples.html"])
def test_nothing_is_wider_than_the_screen(
    visit: Callable[..., Person], width: int, path: str
) -> None:
    person = visit(path, viewport={"width": width, "height": 900})
    if path == "/":
        person.page.locator("#samples button").first.click()
        person.wait()
        person.page.click('[data-tool="brush"]')
    assert person.page.evaluate("document.documentElement.scrollWidth") == width


def test_the_look_follows_the_system_or_the_button(visit: Callable[..., Person]) -> None:
    person = visit(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = person.page.evaluate(background)
    person.page.click("#look")
    light = person.page.evaluate(background)
    assert light != dark
    person.page.reload()
    assert person.page.evaluate(background) == light
    person.page.click("#look")
    assert person.page.evaluate(background) == dark


def test_tab_goes_through_the_page_in_the_order_in_which_it_is_read(person: Person) -> None:
    person.page.locator("#samples button").first.click()
    person.wait()
    person.page.locator("h1 a").focus()
    order = []
    for _ in range(60):
        person.page.keyboard.press("Tab")
        order.append(person.page.evaluate("document.activeElement.id"))
    stations = ["look", "fit", "panes", "names", "ask", "opacity", "open-download"]
    places = [order.index(one) for one in stations]
    assert places == sorted(places)


def test_the_examples_are_answered_by_the_model_and_open_with_their_names(
    visit: Callable[..., Person],
) -> None:
    person = visit("/examples.html")
    pictures = person.page.locator(".gallery .picture")
    person.page.locator(".gallery canvas").nth(pictures.count() - 1).wait_for()
    assert person.page.locator(".gallery .chips").first.inner_text().split()
    for licence in person.page.locator(".gallery .about a").all():
        assert licence.get_attribute("href").startswith("https://creativecommons.org/")
    pictures.first.click()
    person.wait()
    assert person.page.locator("#names").input_value() == "sky, mountain, tree, grass"


def test_a_strict_policy_holds_and_nothing_is_inline(service: str) -> None:
    for path in ("/", "/examples.html"):
        answer = httpx.get(service + path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "<style" not in answer.text
        assert " style=" not in answer.text
        assert "http" not in answer.text.replace("http://www.w3.org", "")


def test_a_token_is_asked_for_and_given_once(visit: Callable[..., Person]) -> None:
    person = visit()
    refused = {"status": 401, "json": {"error": "this service needs its token"}}
    person.page.route(
        "**/v1/**",
        lambda route: (
            route.continue_()
            if route.request.headers.get("authorization") == "Bearer secret"
            else route.fulfill(**refused)
        ),
    )
    person.page.reload()
    person.page.fill("#token-value", "secret")
    person.page.keyboard.press("Enter")
    person.page.locator("#token").wait_for(state="hidden")
    person.page.locator("#samples button").first.click()
    person.wait()
    person.problems.clear()  # the browser tells of the refusal
