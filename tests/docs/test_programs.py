"""The table of what goes where in docs/how-to/other-programs.md."""

import re
from pathlib import Path

from escnet.annotations.registry import FORMATS

ROOT = Path(__file__).parents[2]


def test_every_format_and_every_bridge_has_a_row_and_none_is_made_up() -> None:
    page = (ROOT / "docs" / "how-to" / "other-programs.md").read_text()
    rows = re.findall(r"^\| .* \| (.*) \| .* \|$", page, flags=re.MULTILINE)
    named = {code for row in rows for code in re.findall(r"`([^`]+)`", row)} - {"--format"}
    modules = (ROOT / "src" / "escnet" / "bridges").glob("[a-z]*.py")
    assert named == {*FORMATS, *(f"escnet.bridges.{path.stem}" for path in modules)}
