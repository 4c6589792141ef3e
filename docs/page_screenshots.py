"""Makes the pictures of the page in docs/page, at two widths and in two looks.

`make screenshots` runs it; it needs Chromium, and starts the service itself.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from playwright.sync_api import Browser, Page, sync_playwright

OUT = Path(__file__).parent / "page"
WIDTHS = {1600: {"width": 1600, "height": 1000}, 390: {"width": 390, "height": 844}}
LOOKS = ("light", "dark")
PICTURES = Path(__file__).parents[1] / "src" / "escnet" / "web" / "page" / "examples"
SEEN = ("meadow", "pagoda", "dogs")
NAMES = "sky, mountain, tree, grass, building=building|pagoda, dog, wall=wall|house|wood"
MOST_BYTES = 150_000


@contextmanager
def service() -> Iterator[str]:
    command = [sys.executable, "-m", "escnet", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as own:
        assert own.stdout is not None
        address = re.search(r"http://\S+", own.stdout.readline())
        assert address
        yield address[0]
        own.terminate()


def opened(browser: Browser, address: str, width: int, look: str) -> Page:
    context = browser.new_context(
        viewport=WIDTHS[width],
        color_scheme=look,
        device_scale_factor=2 if width == 390 else 1,
    )
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(address)
    return page


def shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(500)
    for quality in (88, 80, 70, 60):
        content = page.screenshot(type="jpeg", quality=quality)
        if len(content) < MOST_BYTES:
            break
    (OUT / f"{name}.jpg").write_bytes(content)
    print(name, len(content))


def label(page: Page) -> None:
    """Three pictures, one of them pointed at."""
    page.locator("#choose-pictures").set_input_files([PICTURES / f"{one}.jpg" for one in SEEN])
    page.fill("#names", NAMES)
    page.click("#ask")
    page.locator('#strip [data-status="done"]').nth(len(SEEN) - 1).wait_for()
    page.locator("#notice-close").click()
    page.locator("#names").blur()
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#answer").bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.42 * box["width"], box["y"] + 0.4 * box["height"])


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with service() as address, sync_playwright() as starter:
        browser = starter.chromium.launch(
            executable_path=which("chromium") or which("google-chrome"), args=["--no-sandbox"]
        )
        for width in WIDTHS:
            for look in LOOKS:
                page = opened(browser, address, width, look)
                label(page)
                shoot(page, f"label-{width}-{look}")
                page = opened(browser, f"{address}/examples.html", width, look)
                page.locator(".gallery canvas").nth(5).wait_for()
                page.locator(".gallery .spinner").first.wait_for(state="detached")
                shoot(page, f"examples-{width}-{look}")
        browser.close()


if __name__ == "__main__":
    main()
