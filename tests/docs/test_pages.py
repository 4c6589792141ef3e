"""Every block of Start, Tutorials and How-to runs, in the order of its page."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package: for `pages`
sys.path.insert(0, str(Path(__file__).parents[1] / "web"))  # for `running`

from pages import ROOT, Block, arguments, blocks, commands, pages, run_block
from running import running_service

from escnet.cli.main import run
from escnet.web.limits import Limits
from escnet.web.model import LoadModel
from tests.built_in_model import compared_here, needs_the_model, quick_folder, quick_model

__all__ = ["compared_here", "quick_folder", "quick_model"]

# A reader does with much what a test does with little: what the page says, and what is run.
_LESS = {
    "tutorials/train-on-own-pictures.md": {
        "steps = 60\nbatch_size = 4\n": "steps = 1\nbatch_size = 1\n",
    },
    "how-to/train-as-the-paper.md": {
        "--out runs/tiny-smoke": "--out runs/tiny-smoke --set training.steps=2",
    },
}

_SERVICE = "http://127.0.0.1:8000"
_NAMED = [(str(path.relative_to(ROOT / "docs")), path.read_text("utf-8")) for path in pages()]
_RUN = [(name, text) for name, text in _NAMED if any(block.runs for block in blocks(text))]
_NOT_RUN = [
    (f"docs/{name}:{block.line}", command)
    for name, text in _NAMED
    for block in blocks(text)
    if not block.runs and block.language == "bash"
    for command in commands(block.code)
    if arguments(command)
]


@needs_the_model
@pytest.mark.usefixtures("compared_here")
@pytest.mark.parametrize(("name", "text"), _RUN, ids=[name for name, _ in _RUN])
def test_the_blocks_of_a_page_run_in_order(
    name: str, text: str, quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for picture in (ROOT / "examples").glob("*.jpg"):
        shutil.copy(picture, tmp_path)
    for much, little in _LESS.get(name, {}).items():
        assert much in text, f"docs/{name} has no {much!r} any more"
        text = text.replace(much, little)
    for folder in ("recipes", "src"):  # a page that is about a checkout names what is in it
        (tmp_path / folder).symlink_to(ROOT / folder)
    names: dict[str, object] = {"__name__": "__main__"}
    with _served(text, str(quick_model)) as text:
        for block in blocks(text):
            if block.runs:
                run_block(block, names, f"docs/{name}")


@contextmanager
def _served(text: str, model: str) -> Iterator[str]:
    """The page's text with a service of a model where it asks one."""
    if _SERVICE not in text:
        yield text
        return
    load = LoadModel(model=model, device="cpu", dtype="float32", threads=1, num_workers=1)
    with running_service(Limits(), load=load) as url:
        yield text.replace(_SERVICE, url)


@pytest.mark.parametrize(("where", "command"), _NOT_RUN, ids=[command for _, command in _NOT_RUN])
def test_a_command_that_is_not_run_exists_with_its_options(
    where: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(command)
    verb = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]*", word)]
    while run([*verb, "--help"]) != 0:  # the second word was no verb
        verb.pop()
    shown = capsys.readouterr().out
    for option in [word for word in words if word.startswith("--")]:
        assert re.search(rf"{option}\b", shown), f"{where}: {option}"


def test_a_block_that_goes_on_over_lines_is_one_command() -> None:
    code = "escnet train a.toml \\\n    --resume\ncat > b <<'END'\nx\nEND\n# nothing\ncp a b\n"
    assert list(commands(code)) == [
        "escnet train a.toml     --resume",
        "cat > b <<'END'\nx\nEND",
        "cp a b",
    ]


def test_only_a_block_with_a_reason_is_left_out() -> None:
    text = "<!-- not run: it is large -->\n```bash\na\n```\n\n```bash\nb\n```\n"
    assert blocks(text) == [Block("bash", "a\n", 3, False), Block("bash", "b\n", 7, True)]
