"""A person with pictures and names: what comes in, and what is seen of the answer."""

import base64
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from person import EXAMPLES, Person
from PIL import Image

pytestmark = pytest.mark.slow

COFFEE = EXAMPLES / "coffee.jpg"
COFFEE_SIZE = (600, 400)
NAMES = "cup=cup|bowl|plate, table=table|dining table, spoon"


@pytest.fixture
def coffee(person: Person) -> Person:
    person.choose("coffee.jpg")
    person.segment(NAMES)
    return person


def test_pictures_are_chosen_dropped_pasted_and_segmented_together(person: Person) -> None:
    person.choose("coffee.jpg", "chelsea.jpg")
    person.drop("dropped.jpg", "image/jpeg", COFFEE.read_bytes())
    person.paste("pasted.png", "image/jpeg", (EXAMPLES / "astronaut.jpg").read_bytes())
    assert person.page.locator("#strip li").count() == 4
    person.segment("cup, cat, person")
    assert person.page.locator('#strip [data-status="done"]').count() == 4


def test_an_example_is_segmented_by_one_click(person: Person) -> None:
    person.page.locator("#samples button").first.click()
    person.wait()
    assert person.page.locator("#names").input_value() == "sky, mountain, tree, grass"
    assert person.share("grass") != "0 %"
    meter = person.page.locator("#legend li[data-name=grass] meter")
    assert "grass is in the picture with a probability of" in (meter.get_attribute("title") or "")


@pytest.mark.parametrize(
    "names", ["cup=cup|mug, table", "cup=cup|mug\ntable\n", "cup=cup|mug,\ntable, spoon\n"]
)
def test_names_are_between_commas_or_on_lines_and_have_synonyms(person: Person, names: str) -> None:
    person.choose("coffee.jpg")
    person.segment(names)
    rows = person.page.locator("#legend li[data-name]")
    own = {row.get_attribute("data-name") for row in rows.all()}
    assert own == {"cup", "table"} | ({"spoon"} if "spoon" in names else set())


@pytest.mark.parametrize(
    ("file", "content", "names"),
    [
        ("data.yaml", b"names:\n  0: cup\n  1: table\n", "cup\ntable"),
        (
            "labels.json",
            b'[{"name": "cup"}, {"name": "dining table, set"}]',
            "cup\ndining table\\, set",
        ),
        ("names.txt", b"cup=cup|mug\nsign.old\n", "cup=cup|mug\nsign\\.old"),
    ],
)
def test_a_dropped_class_list_fills_the_names(
    person: Person, file: str, content: bytes, names: str
) -> None:
    person.drop(file, "", content)
    person.page.locator("#notice-text", has_text="2 names from").wait_for()
    assert person.page.locator("#names").input_value() == names
    person.choose("coffee.jpg")  # there are names, so it is segmented at once
    person.wait()


def test_a_class_list_that_cannot_be_read_is_an_error_in_one_line(person: Person) -> None:
    person.drop("names.txt", "text/plain", b"\xff\xfe\x00")
    person.page.locator("#notice.error", has_text="UTF-8").wait_for()
    person.problems.clear()  # the browser tells of the status, too


def test_a_broken_picture_is_told_by_its_name_and_the_others_go_on(person: Person) -> None:
    person.drop("broken.jpg", "image/jpeg", b"\xff\xd8\xff\xe0nothing")
    person.choose("coffee.jpg")
    person.page.fill("#names", "cup, table")
    person.page.click("#ask")
    person.page.locator("#notice.error", has_text="broken.jpg: picture is").wait_for()
    person.wait()
    assert person.page.locator('#strip [data-status="failed"]').count() == 1
    person.problems.clear()  # the browser tells of the status, too


def test_computing_is_told_and_cancelled_while_the_old_answer_stays(coffee: Person) -> None:
    before, shares = coffee.stage(), coffee.shares()
    coffee.page.locator("summary").click()
    coffee.page.select_option("#windows", "native")
    coffee.page.click("#ask")
    coffee.page.locator("#progress-text", has_text="Computing").wait_for()
    assert coffee.shares() == shares
    coffee.page.click("#cancel")
    coffee.page.locator("#progress").wait_for(state="hidden")
    coffee.page.locator("#notice-text", has_text="Cancelled").wait_for()
    coffee.page.click("#notice-close")
    assert coffee.shares() == shares
    assert np.abs(coffee.stage() - before).max() == 0
    assert coffee.page.locator('#strip [data-status="old"]').count() == 1


def test_edited_names_are_asked_again_and_the_old_answer_stays_until_then(coffee: Person) -> None:
    coffee.page.fill("#names", "saucer, wood")
    assert coffee.row("cup").is_visible()
    coffee.page.keyboard.press("Control+Enter")
    coffee.page.locator("#progress").wait_for()
    assert coffee.row("cup").is_visible()
    coffee.row("saucer").wait_for()
    assert coffee.row("cup").count() == 0


def test_hover_tells_the_name_the_confidence_and_the_two_next_of_that_pixel(
    coffee: Person, service: str
) -> None:
    answer = httpx.post(
        f"{service}/v1/segment",
        files={"picture": COFFEE.read_bytes()},
        data={"names": NAMES, "answer": "png,confidence,top"},
        timeout=120,
    ).json()
    names = [entry["name"] for entry in answer["names"]]
    indices, sure = (_pixels(answer["top"][key]) for key in ("indices", "probabilities"))
    confidence = _pixels(answer["confidence"])
    for x, y in ((300, 150), (30, 30), (420, 300), (560, 380)):
        coffee.point(COFFEE_SIZE, x, y)
        coffee.page.locator("#hover .next").first.wait_for()  # the first time they are unpacked
        order = [names[index] for index in indices[y, x]]
        own = names[_pixels(answer["png"])[y, x]]
        told = coffee.page.locator("#hover .name").all_inner_texts()
        assert told == [own, *(name for name in order if name != own)][:3]
        shown = coffee.page.locator("#hover .number").all_inner_texts()
        numbers = [0 if text.startswith("<") else int(text.split()[0]) for text in shown]
        assert numbers[0] == pytest.approx(100 * confidence[y, x] / 255, abs=1)
        others = [100 * sure[y, x, order.index(name)] / 255 for name in told[1:]]
        assert numbers[1:] == pytest.approx(others, abs=1)


def test_a_name_is_seen_alone_as_an_outline_and_not_at_all(coffee: Person) -> None:
    photograph = _without_answer(coffee)
    cup, table = (300, 150), (30, 30)
    coffee.row("cup").locator(".name").click()
    assert _is_like(coffee, photograph, table)
    assert not _is_like(coffee, photograph, cup)
    coffee.row("cup").locator(".name").click()
    assert not _is_like(coffee, photograph, table)
    coffee.row("table").locator('[data-mode="hidden"]').click()
    assert _is_like(coffee, photograph, table)
    coffee.page.click("#show-all")
    coffee.row("cup").locator('[data-mode="outline"]').click()
    assert _is_like(coffee, photograph, cup)
    colour = _rgb(coffee.row("cup").locator("input").input_value())
    assert (np.abs(coffee.stage() - colour).max(axis=2) == 0).sum() > 300  # its edge


def test_sliders_act_at_once_without_a_request(coffee: Person) -> None:
    num_asked = len(coffee.asked)
    before = coffee.stage()
    coffee.slide("opacity", 0.2)
    assert np.abs(coffee.stage() - before).mean() > 5
    coffee.slide("void_below", 0.99)
    voided = coffee.page.locator("#legend li.void .share").inner_text()
    assert float(voided.split()[0]) > 20
    coffee.slide("void_below", 0)
    assert coffee.page.locator("#legend li.void .share").inner_text() == "0 %"
    asked = [one for one in coffee.asked[num_asked:] if not one.endswith("/icon.svg")]
    assert asked == []  # the browser looks for the icon of each new address


def test_colours_are_edited_and_stay_after_the_page_is_opened_anew(coffee: Person) -> None:
    field = "#legend li[data-name=cup] input"
    coffee.page.locator(field).fill("#12ab34")
    coffee.settle()
    coffee.slide("opacity", 1)
    x, y = coffee.place(COFFEE_SIZE, 300, 150)
    box = coffee.page.locator("#answer").bounding_box()
    assert coffee.stage()[int(y - box["y"]), int(x - box["x"])].tolist() == [0x12, 0xAB, 0x34]
    coffee.page.reload()
    coffee.choose("coffee.jpg")  # the names came from the link
    coffee.wait()
    assert coffee.page.locator(field).input_value() == "#12ab34"
    coffee.page.click("#colours-reset")
    coffee.settle()
    assert coffee.page.locator(field).input_value() != "#12ab34"


def test_the_photograph_stands_beside_the_answer(coffee: Person) -> None:
    coffee.page.click("#beside")
    coffee.settle()
    answer, photograph = (coffee.page.locator(f"#{pane}") for pane in ("answer", "photograph"))
    boxes = answer.bounding_box(), photograph.bounding_box()
    assert boxes[1]["x"] >= boxes[0]["x"] + boxes[0]["width"]
    coffee.slide("opacity", 1)
    difference = coffee.stage() - _sized(photograph.screenshot(), coffee.stage().shape)
    assert np.abs(difference).mean() > 15
    coffee.slide("opacity", 0)
    assert np.abs(coffee.stage() - _sized(photograph.screenshot(), coffee.stage().shape)).mean() < 1


def test_a_large_picture_is_zoomed_and_panned_to_its_pixels(person: Person) -> None:
    content = BytesIO()
    with Image.open(COFFEE) as small:
        small.resize((4800, 3200)).save(content, "JPEG", quality=80)
    person.drop("large.jpg", "image/jpeg", content.getvalue())
    person.segment("cup, table")
    person.point((4800, 3200), 2400, 1200)
    assert person.page.locator("#hover .own .name").inner_text() == "cup"
    whole = person.stage()
    person.point((4800, 3200), 240, 240)
    for _ in range(12):
        person.page.mouse.wheel(0, -240)
    person.settle()
    own = person.page.locator("#hover .own .name")
    assert own.inner_text() == "table"  # what is under the pointer stays there
    near = person.stage()
    assert np.abs(near - whole).mean() > 5
    middle = person.place((4800, 3200), 2400, 1600)
    person.drag(middle, (middle[0] - 150, middle[1] - 90))
    assert np.abs(person.stage()[:-90, :-150] - near[90:, 150:]).mean() < 3
    person.page.click("#fit")
    assert np.abs(person.stage() - whole).max() == 0


def _pixels(base64_png: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(base64_png)))).astype(int)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])


def _without_answer(person: Person) -> np.ndarray:
    person.slide("opacity", 0)
    photograph = person.stage()
    person.slide("opacity", 0.6)
    return photograph


def _is_like(person: Person, photograph: np.ndarray, pixel: tuple[int, int]) -> bool:
    """Whether nothing is drawn over a pixel of the picture."""
    box = person.page.locator("#answer").bounding_box()
    x, y = person.place(COFFEE_SIZE, *pixel)
    at = int(y - box["y"]), int(x - box["x"])
    return bool(np.abs(person.stage()[at] - photograph[at]).max() == 0)


def _sized(png: bytes, shape: tuple[int, ...]) -> Any:
    image = Image.open(BytesIO(png)).convert("RGB")
    return np.asarray(image.resize((shape[1], shape[0]))).astype(int)
