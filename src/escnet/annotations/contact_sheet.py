"""A folder's results at a glance: small overlays in one HTML page that opens without a network.

The pictures with the largest share of doubtful pixels come first. More than a page holds go on to
the next one. Everything is inside the page, pictures and style, and there are no scripts.
"""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image

from escnet.annotations.format import (
    EncodedFile,
    FolderResults,
    Format,
    FormatOptions,
    PictureResult,
    Place,
    WholeFile,
)
from escnet.annotations.json_text import to_compact_json, to_utf8
from escnet.annotations.overlay import draw_overlay
from escnet.annotations.plain_image import painted
from escnet.annotations.shares import doubtful_share
from escnet.annotations.summary import label_counts
from escnet.files import MARK_COMMENT

_SIDE = 320  # of a small overlay, in pixels
_PER_PAGE = 300
_MOST_NAMES = 6  # below a picture
_HEAD = """<!DOCTYPE html>
{mark}
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{font:14px/1.4 system-ui,sans-serif;margin:1.5rem;color:#202124;background:#fff}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:1.2rem}}
figure{{margin:0}} img{{max-width:100%;display:block}} figcaption{{overflow-wrap:anywhere}}
.faint{{color:#5f6368}} i{{display:inline-block;width:.8em;height:.8em;margin-right:.3em}}
span{{margin-right:.8em}} h1{{font-size:1.3rem}} nav a{{margin-right:.6em}}
</style></head><body><h1>{title}</h1>
"""


def _files(result: PictureResult, place: Place, options: FormatOptions) -> Iterator[EncodedFile]:
    colours = options.colours(result.names)
    counts = label_counts(result.label_map, len(result.names))
    content = {
        "doubtful_share": doubtful_share(result, options.doubtful_below),
        "names": [
            {
                "name": result.names[index],
                "share": round(counts[index] / result.label_map.size, 4),
                "color": f"#{bytes(colours[index].tolist()).hex()}",
            }
            for index in np.argsort(-counts[:-1], kind="stable").tolist()
            if counts[index]
        ],
        "overlay": base64.b64encode(_small_overlay(result, options)).decode("ascii"),
    }
    yield EncodedFile(CONTACT_SHEET.first_file(place), to_compact_json(content))


def _small_overlay(result: PictureResult, options: FormatOptions) -> bytes:
    height, width = result.label_map.shape
    scale = min(1.0, _SIDE / max(height, width))
    h, w = max(1, round(scale * height)), max(1, round(scale * width))
    labels = _sampled(result.label_map, (h, w))
    if result.picture is None:
        drawn = painted(labels, options.colours(result.names))
    else:
        image = Image.fromarray(result.picture).resize((w, h), Image.Resampling.BOX, reducing_gap=2)
        drawn = draw_overlay(
            np.asarray(image),
            labels,
            result.names,
            opacity=options.opacity,
            legend=False,
            colours=options.colours(result.names),
            outlines=options.outlines,
            only=options.only,
        )
    return _jpeg(drawn)


def _sampled(
    label_map: UInt[np.ndarray, "H W"], size_hw: tuple[int, int]
) -> UInt[np.ndarray, "h w"]:
    rows, columns = (
        (np.arange(new) * old + old // 2) // new
        for new, old in zip(size_hw, label_map.shape, strict=True)
    )
    return label_map[rows[:, None], columns]


def _jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    pages = sheet_pages(finished, _PER_PAGE)
    for page, shown in enumerate(pages):
        yield WholeFile(page_name(page, "html"), _page(shown, page, len(pages)))


def sheet_pages(finished: FolderResults, per_page: int) -> Sequence[FolderResults]:
    """The pictures of each page, those with most doubtful pixels first; one page at least.

    Args:
        finished: Of all pictures, with the parts that a contact sheet is made of.
        per_page: Pictures on a page.

    Raises:
        OutputError: If a part cannot be read.
    """
    doubts = [
        (-float(json.loads(content)["doubtful_share"]), place)
        for place, content in CONTACT_SHEET.parts(finished)
    ]
    places = [place for _, place in sorted(doubts, key=lambda pair: (pair[0], pair[1].number))]
    return [
        replace(finished, places=places[start : start + per_page])
        for start in range(0, max(1, len(places)), per_page)
    ]


def page_name(page: int, suffix: str) -> str:
    """The file of a page, which is counted from 0."""
    return f"contact-sheet{f'-{page + 1}' if page else ''}.{suffix}"


def _page(finished: FolderResults, page: int, num_pages: int) -> Iterator[bytes]:
    title = "Contact sheet" if num_pages == 1 else f"Contact sheet {page + 1} of {num_pages}"
    yield _HEAD.format(title=title, mark=MARK_COMMENT).encode()
    yield b'<p class="faint">The pictures with most doubtful pixels come first.</p>\n'
    if num_pages > 1:
        links = "".join(f'<a href="{page_name(n, "html")}">{n + 1}</a>' for n in range(num_pages))
        yield f"<nav>{links}</nav>\n".encode()
    yield b"<main>\n"
    for place, content in CONTACT_SHEET.parts(finished):
        yield to_utf8(_figure(place, json.loads(content)))
    yield b"</main></body></html>\n"


def _figure(place: Place, part: dict[str, Any]) -> str:
    path = escape(place.picture_path)
    names = "".join(
        f'<span><i style="background:{entry["color"]}"></i>{escape(entry["name"])} '
        f"{entry['share']:.1%}</span>"
        for entry in part["names"][:_MOST_NAMES]
    )
    more = len(part["names"]) - _MOST_NAMES
    more_text = f'<span class="faint">+ {more} more</span>' if more > 0 else ""
    return (
        f'<figure><img alt="{path}" loading="lazy" '
        f'src="data:image/jpeg;base64,{part["overlay"]}"><figcaption><b>{path}</b> '
        f'<span class="faint">{part["doubtful_share"]:.1%} doubtful</span><br>{names}{more_text}'
        "</figcaption></figure>\n"
    )


CONTACT_SHEET = Format(
    about="small overlays of all pictures in a page that opens offline: a browser",
    path="contact-sheet/{below}{stem}.json",
    folder="contact-sheet",
    whole_paths=("contact-sheet.html",),
    use="Open contact-sheet.html, beside this folder; it is put together from these parts.",
    encode=_files,
    whole=_whole,
)
