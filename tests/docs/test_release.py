"""What a release holds: one version everywhere, and a source archive that can test itself."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import escnet

ROOT = Path(__file__).parents[2]
# Not needed by who unpacks the archive: what other services read, and what git alone needs.
_LEFT_OUT = (".github/*", ".gitignore", ".pre-commit-config.yaml")


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == escnet.__version__
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [escnet.__version__]


def test_the_change_log_has_the_version_and_a_place_for_what_comes_next() -> None:
    heads = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[:2] == ["Unreleased", escnet.__version__]


def test_the_source_archive_holds_every_file_of_the_repository() -> None:
    """Hatch includes what the patterns name, so a new folder has to be named there."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout, so there is no list of the repository's files")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(listed) > 100
    always = {"pyproject.toml"}
    for file in listed:
        if file in always or any(fnmatch(file, pattern) for pattern in _LEFT_OUT):
            continue
        assert any(f"/{file}/".startswith(f"{pattern}/") for pattern in patterns), file
