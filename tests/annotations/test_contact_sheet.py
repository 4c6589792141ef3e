import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.annotations import contact_sheet, contact_sheet_png
from escnet.files import is_ours
from escnet.segmentation import Segmentation, save_all


def test_the_page_holds_every_picture_and_asks_nobody(result: Segmentation, tmp_path: Path) -> None:
    results = [replace(result, stem=f"r{n}", source={"file": f"<{n}>.png"}) for n in range(3)]
    (page,) = save_all(results, tmp_path, ["contact-sheet"])
    assert is_ours(page)
    text = page.read_text()
    assert not re.search(r"https?:|<script|<link|url\(", text)
    encoded = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(encoded) == 3
    for content in encoded:
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.size == (6, 4)
    assert text.count("&lt;1&gt;.png</b>") == 1


def test_the_doubtful_come_first_and_pages_are_linked(
    result: Segmentation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet, "_PER_PAGE", 2)
    shape = result.label_map.shape
    results = [
        replace(result, stem=f"r{n}", source=None, confidence=np.full(shape, value, np.float32))
        for n, value in enumerate([0.9, 0.9, 0.1])
    ]
    pages = save_all(results, tmp_path, ["contact-sheet"])
    assert [page.name for page in pages] == ["contact-sheet.html", "contact-sheet-2.html"]
    shown = [re.findall(r"<b>(.*?)</b>", page.read_text()) for page in pages]
    assert shown == [["r2.jpg", "r0.jpg"], ["r1.jpg"]]
    assert 'href="contact-sheet-2.html"' in pages[0].read_text()


def test_large_pictures_become_small_and_results_without_one_show_colours(
    result: Segmentation, tmp_path: Path
) -> None:
    large = replace(
        result,
        label_map=np.zeros((500, 1000), np.uint8),
        confidence=np.ones((500, 1000), np.float32),
        picture=None,
    )
    (page,) = save_all([large], tmp_path, ["contact-sheet"])
    (content,) = re.findall(r'base64,([^"]+)"', page.read_text())
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.size == (320, 160)


def test_pages_as_pictures_hold_the_same_overlays_in_the_same_order(
    result: Segmentation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet_png, "_COLUMNS", 2)
    monkeypatch.setattr(contact_sheet_png, "_ROWS", 1)
    results = [
        replace(
            result,
            stem="a name as long as a story " * 4 + str(n),
            source=None,
            names=("red", "green", "blue")[: len(result.names)],
            label_map=np.full((60, 80), n, np.uint8),
            confidence=np.full((60, 80), 0.1 * n, np.float32),
            picture=np.full((60, 80, 3), 70 * n, np.uint8),
        )
        for n in range(3)
    ]
    pages = save_all(results, tmp_path, ["contact-sheet", "contact-sheet-png"])[1:]
    assert [page.name for page in pages] == ["contact-sheet.png", "contact-sheet-2.png"]
    assert is_ours(pages[0])
    shown = []
    for path in pages:
        page = np.asarray(Image.open(path).convert("RGB")).astype(int)
        cells = [page[20:80, 20:100], page[20:80, 360:440]]
        shown += [int(cell.mean()) for cell in cells if (cell != 255).any()]
        assert (page[:, 340:360] == 255).all()  # no text runs into the next cell
        assert (page[80:, 20:340] < 100).any()
    assert len(shown) == 3
    assert shown == sorted(shown)  # the doubtful are the dark ones here
    assert save_all([], tmp_path, ["contact-sheet-png"]) == []
