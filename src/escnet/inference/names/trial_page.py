"""A trial of names as one HTML page that opens without a network: a sheet for each label."""

import base64
from collections.abc import Iterator, Sequence
from html import escape

from escnet.annotations.json_text import to_utf8
from escnet.files import MARK_COMMENT
from escnet.inference.names.name_trial import NEAR, Example, LabelTrial, Trial

_HEAD = """<!DOCTYPE html>
{mark}
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{font:14px/1.4 system-ui,sans-serif;margin:1.5rem;color:#202124;background:#fff}}
section>div{{display:flex;flex-wrap:wrap;gap:.8rem}} figure{{margin:0;max-width:240px}}
img{{max-width:100%;display:block}} figcaption{{overflow-wrap:anywhere;font-size:12px}}
.faint{{color:#5f6368}} td,th{{padding:.1rem .8rem .1rem 0;text-align:left}}
h2{{margin:1.6rem 0 .2rem;font-size:1.1rem}} h3{{font-size:.9rem;margin:.6rem 0 .2rem}}
</style></head><body><h1>{title}</h1>
"""


def trial_page(trial: Trial, title: str) -> bytes:
    """The page.

    Args:
        trial: What came out.
        title: What was tried, such as the file of names and the model.
    """
    return to_utf8("".join(_parts(trial, title)))


def _parts(trial: Trial, title: str) -> Iterator[str]:
    yield _HEAD.format(mark=MARK_COMMENT, title=escape(title))
    yield f'<p class="faint">{trial.num_pictures} pictures. A label nearly wins a pixel where it '
    yield f"is second with {NEAR:g} of the winner's probability or more.</p>\n"
    yield "<table><tr><th>label<th>share<th>confidence<th>pictures<th>nearly wins"
    yield "<th>mixed up with</tr>\n"
    for label in trial.labels:
        cells = [f'<a href="#{_anchor(label)}">{escape(label.label)}</a>', *cells_of(label)]
        yield f"<tr><td>{'<td>'.join(cells)}</tr>\n"
    yield f"<tr><td class=faint>(unlabelled)<td>{trial.void_share:.1%}</tr></table>\n"
    if trial.suggestions:
        lines = "".join(f"<li>{escape(one.message)}" for one in trial.suggestions)
        yield f"<h2>To try</h2><ul>{lines}</ul>\n"
    for label in trial.labels:
        yield f'<section id="{_anchor(label)}"><h2>{escape(label.label)}</h2>\n'
        yield from _examples("where it wins", label.wins)
        yield from _examples("where it nearly wins", label.near_wins)
        yield "</section>\n"
    yield "</body></html>\n"


def cells_of(label: LabelTrial) -> list[str]:
    """A label's row of the table, without its name; safe in HTML."""
    mixed = ", ".join(f"{escape(name)} {share:.1%}" for name, share in label.mixed_with[:3])
    return [
        f"{label.share:.1%}",
        "" if label.confidence is None else f"{label.confidence:.2f}",
        str(label.num_pictures),
        f"{label.near_share:.1%}",
        mixed,
    ]


def _anchor(label: LabelTrial) -> str:
    return escape(f"label-{label.label.replace(' ', '-')}")


def _examples(heading: str, examples: Sequence[Example]) -> Iterator[str]:
    if not examples:
        yield f'<h3 class="faint">{heading}: nowhere</h3>\n'
        return
    yield f"<h3>{heading}</h3><div>\n"
    for example in examples:
        source = base64.b64encode(example.overlay).decode("ascii")
        name = escape(example.picture.name)
        yield (
            f'<figure><img alt="{name}" loading="lazy" src="data:image/jpeg;base64,{source}">'
            f'<figcaption>{name} <span class="faint">{example.share:.1%}</span></figcaption>'
            "</figure>\n"
        )
    yield "</div>\n"
