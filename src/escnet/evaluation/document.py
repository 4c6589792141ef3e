"""A report's content, and the two files that it becomes: Markdown, and HTML that needs no other.

Class names, file names and messages come from outside: both forms show them as plain text. The HTML
holds its pictures, runs no script and loads nothing.
"""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from escnet.files import MARK_COMMENT

_MARKS = re.compile(r"[\\`*\[\]<|&~]|(?<!\w)_|_(?!\w)")
_STARTS = re.compile(
    r"^(?=[#>+=-])|(?<=^\d)(?=[.)])"
)  # of a paragraph that would be something else
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #202124; max-width: 74rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #dadce0; text-align: left }
th { border-bottom: 2px solid #9aa0a6 } td.number, th.number { text-align: right }
tr.marked { background: #fef3c7; font-weight: 600 } .warning { color: #a50e0e }
figure { margin: 1rem 0 } img { max-width: 100% } figcaption { color: #5f6368 }
td { overflow-wrap: anywhere }
""".strip()
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; a warning is what a reader must not miss."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text.

    Attributes:
        header: Titles of the columns.
        rows: As many cells in each.
        num_text: How many columns come before those that hold numbers.
        marked: Rows that stand out.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_text: int = 1
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Figure:
    """A JPEG file and what it shows."""

    path: Path
    caption: str


Block = Heading | Text | Table | Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A title and what stands under it."""

    title: str
    blocks: tuple[Block, ...]

    def to_markdown(self, folder: Path) -> str:
        """The document as Markdown.

        Args:
            folder: Where the file will be; figures are named from there.
        """
        parts = [f"# {_marked_down(self.title)}"]
        parts += [_markdown(block, folder) for block in self.blocks]
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> str:
        """The document as an HTML page that holds its figures.

        Raises:
            OSError: If a figure cannot be read.
        """
        body = "\n".join(_html(block) for block in self.blocks)
        title = _escaped(self.title)
        return (
            f'<!DOCTYPE html>\n{MARK_COMMENT}\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
            f"<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
        )


def _markdown(block: Block, folder: Path) -> str:
    match block:
        case Heading(text):
            return f"## {_marked_down(text)}"
        case Text(text, is_warning):
            shown = _marked_down(text)
            return f"**{shown}**" if is_warning else _STARTS.sub(r"\\", shown)
        case Figure(path, caption):
            place = quote(path.relative_to(folder).as_posix())
            shown = _marked_down(caption)
            return f"![{shown}]({place})\n\n" + _STARTS.sub(r"\\", shown)
        case Table(header, rows, num_text, marked):
            ends = ["---" if index < num_text else "---:" for index in range(len(header))]
            lines = [_line(header), f"| {' | '.join(ends)} |"]
            return "\n".join(
                [*lines, *(_line(row, index in marked) for index, row in enumerate(rows))]
            )


def _line(cells: Sequence[str], is_marked: bool = False) -> str:
    shown = [_marked_down(cell) for cell in cells]
    return f"| {' | '.join(f'**{cell}**' if is_marked and cell else cell for cell in shown)} |"


def _marked_down(text: str) -> str:
    """Text in which nothing is markup, on one line."""
    text = " ".join(_printable(text).split())
    return _MARKS.sub(r"\\\g<0>", text)


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{_escaped(text)}</h2>"
        case Text(text, is_warning):
            return f"<p{_class('warning', is_warning)}>{_escaped(text)}</p>"
        case Figure(path, caption):
            content = base64.b64encode(path.read_bytes()).decode("ascii")
            shown = _escaped(caption)
            return (
                f'<figure><img src="data:image/jpeg;base64,{content}" alt="{shown}">'
                f"<figcaption>{shown}</figcaption></figure>"
            )
        case Table(header, rows, num_text, marked):
            lines = [_html_row("th", header, num_text, is_marked=False)]
            lines += [
                _html_row("td", row, num_text, is_marked=index in marked)
                for index, row in enumerate(rows)
            ]
            return "<table>\n" + "\n".join(lines) + "\n</table>"


def _html_row(tag: str, cells: Sequence[str], num_text: int, *, is_marked: bool) -> str:
    shown = [
        f"<{tag}{_class('number', index >= num_text)}>{_escaped(cell)}</{tag}>"
        for index, cell in enumerate(cells)
    ]
    return f"<tr{_class('marked', is_marked)}>{''.join(shown)}</tr>"


def _class(name: str, is_set: bool) -> str:
    return f' class="{name}"' if is_set else ""


def _escaped(text: str) -> str:
    return html.escape(_printable(text))


def _printable(text: str) -> str:
    """Text that any encoding can hold: lone surrogates are replaced, control characters go."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter for letter in text if letter.isprintable() or letter.isspace())
