"""Every block of code in README.md is run as it stands, with a photograph where it names one."""

import re
import shlex
import shutil
from itertools import chain
from pathlib import Path

import pytest

from escnet.cli.main import run
from tests.built_in_model import compared_here, needs_the_model, quick_folder, quick_model

__all__ = ["compared_here", "quick_folder", "quick_model"]

ROOT = Path(__file__).parents[1]
PHOTOGRAPH = ROOT / "examples" / "chelsea.jpg"
README = (ROOT / "README.md").read_text(encoding="utf-8")

RUN_HERE = {"segment", "compare", "explain"}
GROUPS = {"names", "data", "weights"}  # whose verbs are words of their own


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The arguments of every `escnet` of the bash blocks; a line may go on after a backslash."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in split if words[:1] == ["escnet"]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def provide(text: str) -> None:
    """Put what the text names as input into the current folder."""
    for name in re.findall(r"[\w/.-]+\.(?:jpe?g|png)\b", text):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PHOTOGRAPH, name)
    for name in re.findall(r"\b([\w/-]+)/(?:\*\.jpg)?(?=[\s\"']|$)", text):
        Path(name).mkdir(parents=True, exist_ok=True)
        shutil.copy(PHOTOGRAPH, Path(name) / "one.jpg")
    for name in re.findall(r"[\w-]+\.txt\b", text):
        Path(name).write_text("cat\nwall=wall|curtain\n", encoding="utf-8")


def test_there_are_blocks_to_run() -> None:
    assert blocks("python")
    assert len([words for words in commands() if words[0] == "segment"]) >= 2


@needs_the_model
@pytest.mark.usefixtures("quick_model")
@pytest.mark.parametrize("block", blocks("python"))
def test_a_block_of_python_runs(block: str, folder: Path) -> None:
    code = re.sub(r"\s#.*", "", block)
    provide(re.sub(r"save\(.*?\)", "", code))
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102
    if "save(" in code:
        assert list(folder.rglob("*.labels.png"))


@needs_the_model
@pytest.mark.usefixtures("quick_model")
@pytest.mark.parametrize(
    "words", [words for words in commands() if words[0] == "segment"], ids=" ".join
)
def test_a_command_segments(words: list[str], folder: Path) -> None:
    is_output = [before in {"--out", "-o"} for before in ["", *words[:-1]]]
    provide("\n".join(word for word, out in zip(words, is_output, strict=True) if not out))
    assert run(words) == 0
    kinds = words[words.index("--format") + 1].split(",") if "--format" in words else ["labels"]
    written = {"labels": "*.labels.png", "csv": "folder.csv"}
    results = list(folder.rglob(next(written[kind] for kind in kinds if kind in written)))
    assert results
    if "--out" in words:
        out = folder / words[words.index("--out") + 1]
        assert all(path.is_relative_to(out) for path in results)


@needs_the_model
@pytest.mark.usefixtures("quick_model", "compared_here")
@pytest.mark.parametrize(
    "words", [words for words in commands() if words[0] in {"compare", "explain"}], ids=" ".join
)
def test_a_command_draws_a_sheet(words: list[str], folder: Path) -> None:
    out = words.index("--out")
    provide("\n".join(words[:out]))
    as_the_shell = [
        [str(path) for path in folder.glob(word)] if "*" in word else [word] for word in words
    ]
    assert run(list(chain.from_iterable(as_the_shell))) == 0
    assert list((folder / words[out + 1]).glob("*.png"))


@pytest.mark.parametrize(
    "words", [words for words in commands() if words[0] not in RUN_HERE], ids=" ".join
)
def test_every_other_command_has_the_options_that_it_is_given(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """They need data or results that are not here, but their options and names are read first."""
    verb = words[: 2 if words[0] in GROUPS else 1]
    assert run([*verb, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in [word for word in words if word.startswith("--")]:
        assert re.search(rf"{option}\b", shown), option


@needs_the_model
def test_a_picture_that_is_shown_is_there() -> None:
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert shown
    for path in shown:
        assert (ROOT / path).is_file(), path


def test_a_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"\b(?:docs|recipes|examples)/[\w./-]+\.(?:md|toml|py)\b", README))
    linked = {path for path in re.findall(r"\]\(([^)#]+)", README) if ":" not in path}
    assert len(linked) > 20
    for path in named | linked:
        assert (ROOT / path).is_file(), path
