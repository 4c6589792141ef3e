"""What a person does on the page: looks, clicks, drops, paints."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
LONG = 60_000  # milliseconds; machines of tests are busy
_MARGIN = 12  # around a picture that is seen whole
_FILE = """([name, type, content]) => {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  return data;
}"""
_PASTE = "(data) => dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))"


class Person:
    """Somebody with a browser of their own.

    Attributes:
        page: The browser's.
        problems: What the browser complained of.
        asked: Addresses that the page asked for.
    """

    def __init__(self, context: Any, service: str) -> None:
        self.service = service
        self.page = context.new_page()
        self.page.set_default_timeout(LONG)
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", lambda one: self._note(one.url))

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)

    def _note(self, address: str) -> None:
        if not address.startswith(("blob:", "data:")):
            self.asked.append(address)

    def go(self, path: str) -> None:
        self.page.goto(self.service + path)
        pictures = self.page.locator("#samples img, .gallery .picture img")
        pictures.first.wait_for(state="attached")

    def choose(self, *files: str | Path) -> None:
        self.page.locator("#choose-pictures").set_input_files([EXAMPLES / file for file in files])

    def drop(self, name: str, kind: str, content: bytes) -> None:
        self.page.dispatch_event("body", "drop", {"dataTransfer": self._data(name, kind, content)})

    def paste(self, name: str, kind: str, content: bytes) -> None:
        self._data(name, kind, content).evaluate(_PASTE)

    def _data(self, name: str, kind: str, content: bytes) -> Any:
        packed = base64.b64encode(content).decode("ascii")
        return self.page.evaluate_handle(_FILE, [name, kind, packed])

    def segment(self, names: str) -> None:
        self.page.fill("#names", names)
        self.page.click("#ask")
        self.wait()

    def wait(self) -> None:
        """Until everything that was asked has its answer."""
        self.page.locator("#legend li").first.wait_for()
        self.page.locator("#progress").wait_for(state="hidden")
        self.page.locator('#strip [data-status="done"]').first.wait_for()
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_timeout(150)  # some frames

    def row(self, name: str) -> Any:
        return self.page.locator(f'#legend li[data-name="{name}"]')

    def share(self, name: str) -> str:
        return str(self.row(name).locator(".share").inner_text())

    def shares(self) -> list[str]:
        return list(self.page.locator("#legend .share").all_inner_texts())

    def place(self, size: tuple[int, int], x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the picture is on the screen, of a picture that is seen whole."""
        box = self.page.locator("#answer").bounding_box()
        width, height = size
        scale = min((box["width"] - 2 * _MARGIN) / width, (box["height"] - 2 * _MARGIN) / height)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + (x + 0.5) * scale, top + (y + 0.5) * scale

    def point(self, size: tuple[int, int], x: float, y: float) -> None:
        self.page.mouse.move(*self.place(size, x, y))
        self.settle()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=8)
        self.page.mouse.up()
        self.settle()

    def stage(self) -> np.ndarray:
        """What is seen of the answer, H x W x 3."""
        if self.page.locator("#notice").is_visible():
            self.page.click("#notice-close")
        self.page.mouse.move(5, 5)
        self.settle()
        return pixels_of(self.page.locator("#answer").screenshot())

    def slide(self, slider: str, value: float) -> None:
        self.page.locator(f"#{slider}").fill(str(value))
        self.settle()

    def download(self, *formats: str) -> ZipFile:
        """Everything, in these formats."""
        self.page.click("#open-download")
        for box in self.page.locator("#formats input").all():
            box.set_checked(box.get_attribute("value") in formats)
        with self.page.expect_download() as coming:
            self.page.click("#download-zip")
        return ZipFile(coming.value.path())


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)
