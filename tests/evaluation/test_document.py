import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from escnet.evaluation.document import Document, Figure, Heading, Table, Text

HOSTILE = '<script>alert("1")</script> | *x* [a](b) `c` _d_ &lt; \x00\x1b[31m\ud800'


class Reader(HTMLParser):
    """The tags and the text of a page, as a browser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


@pytest.fixture
def figure(tmp_path: Path) -> Figure:
    path = tmp_path / "pictures of <b>" / "1.jpg"
    path.parent.mkdir()
    Image.new("RGB", (4, 4)).save(path)
    return Figure(path, HOSTILE)


@pytest.fixture
def document(figure: Figure) -> Document:
    table = Table((HOSTILE, "n"), [(HOSTILE, "1"), ("a\nb", "-2")], marked=frozenset({1}))
    blocks = (Heading(HOSTILE), Text(HOSTILE), Text(HOSTILE, is_warning=True), table, figure)
    return Document(title=HOSTILE, blocks=blocks)


def test_nothing_from_outside_becomes_a_tag(document: Document) -> None:
    page = document.to_html()
    page.encode()
    reader = read(page)
    assert set(reader.tags) == {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th",
        "td", "figure", "img", "figcaption",
    }  # fmt: skip
    assert reader.text.count('<script>alert("1")</script> | *x*') == 8
    assert "\x00" not in page
    assert "\x1b" not in page


def test_the_page_holds_its_pictures_and_loads_nothing(document: Document, figure: Figure) -> None:
    page = document.to_html()
    figure.path.unlink()
    assert re.findall(r'src="([^"]{23})', page) == ["data:image/jpeg;base64,"]
    assert "http" not in page.replace("http-equiv", "")
    with pytest.raises(FileNotFoundError):
        document.to_html()


def test_nothing_from_outside_becomes_markdown(document: Document, tmp_path: Path) -> None:
    text = document.to_markdown(tmp_path)
    text.encode()
    shown = r'\<script>alert("1")\</script> \| \*x\* \[a\](b) \`c\` \_d\_ \&lt; \[31m?'
    lines = text.splitlines()
    assert lines[0] == f"# {shown}"
    assert f"## {shown}" in lines
    assert shown in lines
    assert f"**{shown}**" in lines
    assert lines[lines.index(f"| {shown} | n |") + 1 :][:3] == [
        "| --- | ---: |",
        f"| {shown} | 1 |",
        "| **a b** | **-2** |",
    ]
    assert f"![{shown}](pictures%20of%20%3Cb%3E/1.jpg)" in lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [("- a", r"\- a"), ("# a", r"\# a"), ("> a", r"\> a"), ("1. a", r"1\. a"), ("a - b", "a - b")],
)
def test_a_paragraph_stays_a_paragraph(text: str, shown: str, tmp_path: Path) -> None:
    assert Document(title="t", blocks=(Text(text),)).to_markdown(tmp_path) == f"# t\n\n{shown}\n"


def test_names_with_underscores_stay_readable(tmp_path: Path) -> None:
    document = Document(title="miou_in_truth", blocks=())
    assert document.to_markdown(tmp_path) == "# miou_in_truth\n"
