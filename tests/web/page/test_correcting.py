"""A person who corrects an answer, takes it away as files, and sends a colleague the link."""

import json
from collections.abc import Callable
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from person import Person
from PIL import Image

pytestmark = pytest.mark.slow

COFFEE_SIZE = (600, 400)


@pytest.fixture
def coffee(person: Person) -> Person:
    person.choose("coffee.jpg")
    person.segment("cup, table")
    return person


def _labels(files: ZipFile, file: str = "coffee.labels.png") -> np.ndarray:
    return np.asarray(Image.open(BytesIO(files.read(file))))


def test_a_brush_paints_a_name_and_void_and_undo_takes_them_back(coffee: Person) -> None:
    before = _labels(coffee.download("labels"))
    shares = coffee.shares()
    coffee.page.click('[data-tool="brush"]')  # with the first name, unless another is chosen
    coffee.page.locator("#brush-size").fill("20")
    coffee.drag(coffee.place(COFFEE_SIZE, 40, 40), coffee.place(COFFEE_SIZE, 140, 40))
    coffee.page.select_option("#paint-name", label="no name")
    coffee.drag(coffee.place(COFFEE_SIZE, 40, 100), coffee.place(COFFEE_SIZE, 140, 100))
    after = _labels(coffee.download("labels"))
    assert (after[40, 40:141] == 0).all()
    assert (after[100, 40:141] == 255).all()
    assert np.abs(np.argwhere(after != before)[:, 0] - 70).max() <= 41  # nowhere else
    coffee.page.keyboard.press("Control+z")
    coffee.page.click("#undo")
    assert coffee.page.locator("#undo").is_disabled()
    coffee.settle()
    assert coffee.shares() == shares
    assert (_labels(coffee.download("labels")) == before).all()


def test_a_fill_gives_a_connected_region_another_name(coffee: Person) -> None:
    before = _labels(coffee.download("labels"))
    coffee.row("table").locator("[data-paint]").click()
    coffee.page.click('[data-tool="fill"]')
    coffee.page.mouse.click(*coffee.place(COFFEE_SIZE, 300, 150))
    coffee.settle()
    after = _labels(coffee.download("labels"))
    assert before[150, 300] == 0
    assert after[150, 300] == 1
    assert (after[before == 1] == 1).all()
    assert (after == 0).sum() < (before == 0).sum() / 2


def test_what_is_painted_stays_below_a_threshold_and_when_the_picture_is_asked_anew(
    coffee: Person,
) -> None:
    coffee.row("table").locator("[data-paint]").click()
    coffee.drag(coffee.place(COFFEE_SIZE, 280, 150), coffee.place(COFFEE_SIZE, 320, 150))
    coffee.slide("void_below", 1)
    assert (_labels(coffee.download("labels"))[150, 280:321] == 1).all()
    coffee.slide("void_below", 0)
    coffee.segment("spoon, cup, table")
    coffee.row("spoon").wait_for()
    assert (_labels(coffee.download("labels"))[150, 280:321] == 2).all()


def test_the_keyboard_alone_paints_and_undoes(coffee: Person) -> None:
    shares = coffee.shares()
    coffee.page.locator("#panes").focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowLeft"):
        coffee.page.keyboard.press(key)
    coffee.page.locator("#hover .own").wait_for()
    for key in ("b", "x", "]", "Enter"):
        coffee.page.keyboard.press(key)
    coffee.settle()
    assert coffee.page.locator("#legend li.void .share").inner_text() != "0 %"
    coffee.page.keyboard.press("Control+z")
    coffee.settle()
    assert coffee.shares() == shares
    coffee.page.keyboard.press("s")
    assert coffee.page.locator("#beside").get_attribute("aria-pressed") == "true"
    coffee.page.keyboard.press("?")
    coffee.page.locator("#help").wait_for()
    coffee.page.locator("#single-keys").uncheck()
    coffee.page.keyboard.press("Escape")
    coffee.page.locator("#panes").focus()
    coffee.page.keyboard.press("s")
    assert coffee.page.locator("#beside").get_attribute("aria-pressed") == "true"


def test_all_pictures_are_downloaded_in_every_format(person: Person) -> None:
    person.choose("coffee.jpg", "chelsea.jpg")
    person.segment("cup, table, cat")
    person.page.locator('#strip [data-status="done"]').nth(1).wait_for()
    person.page.click("#open-download")
    formats = [box.get_attribute("value") for box in person.page.locator("#formats input").all()]
    person.page.click("#download-cancel")
    assert {"labels", "overlay", "json", "coco", "yolo", "geojson", "voc", "csv"} <= set(formats)
    files = person.download(*formats)
    names = files.namelist()
    for stem in ("coffee", "chelsea"):
        assert f"{stem}.labels.png" in names
        assert f"{stem}.overlay.jpg" in names
        told = json.loads(files.read(f"{stem}.json"))
        assert [entry["name"] for entry in told["names"]] == ["cup", "table", "cat"]
    assert len(names) > 20


def test_one_picture_of_two_is_downloaded_alone(person: Person) -> None:
    person.choose("coffee.jpg", "chelsea.jpg")
    person.segment("cup, cat")
    person.page.locator('#strip [data-status="done"]').nth(1).wait_for()
    person.page.click("#open-download")
    person.page.check("#download-one")
    with person.page.expect_download() as coming:
        person.page.click("#download-zip")
    assert coming.value.suggested_filename == "coffee.zip"
    assert set(ZipFile(coming.value.path()).namelist()) == {
        "coffee.labels.png",
        "coffee.overlay.jpg",
        "coffee.json",
    }


def test_the_link_holds_names_and_settings_for_a_colleague(
    visit: Callable[..., Person],
) -> None:
    person = visit()
    person.page.locator("#samples button").nth(1).click()
    person.wait()
    person.page.locator("summary").click()
    person.page.check("#background")
    person.page.fill("#min_area", "50")
    person.segment("sky\ntree=tree|bush\nwater & more")
    person.slide("opacity", 0.35)
    person.slide("void_below", 0.4)
    person.page.click("#outlines")
    person.page.wait_for_timeout(600)  # the link is written when things have come to rest
    shares = person.shares()
    address = person.page.url
    colleague = visit(address.removeprefix(person.service))
    colleague.wait()
    assert colleague.page.locator("#names").input_value() == "sky\ntree=tree|bush\nwater & more"
    assert colleague.page.locator("#background").is_checked()
    assert colleague.page.locator("#min_area").input_value() == "50"
    assert colleague.page.locator("#opacity").input_value() == "0.35"
    assert colleague.page.locator("#void_below").input_value() == "0.4"
    assert colleague.page.locator("#outlines").get_attribute("aria-pressed") == "true"
    assert colleague.shares() == shares
