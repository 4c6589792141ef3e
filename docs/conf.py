"""Sphinx's settings for the site: `make docs` builds it, and any warning fails the build."""

import typer.main
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

import escnet
from escnet.cli.main import app as commands

project = "escnet"
author = "The escnet authors"
copyright = "The escnet authors, Apache-2.0"  # noqa: A001 - Sphinx's own name for it
version = release = escnet.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]

myst_enable_extensions = ["colon_fence", "deflist"]
suppress_warnings = ["toc.not_included"]
myst_heading_anchors = 3

# A name in single backticks is code, and a link where the reference has an entry for it.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "escnet"
html_copy_source = False
html_show_sphinx = False


def _write_the_commands(_app: Sphinx, page: str, text: list[str]) -> None:
    """Puts every verb with its options where the command line's page says so."""
    if page != "reference/command-line":
        return
    command = typer.main.get_command(commands)
    told = get_docs_for_click(obj=command, ctx=typer.Context(command), name="escnet", indent=1)
    text[0] = text[0].replace("<!-- every verb, from `escnet --help` -->", told)


def setup(app: Sphinx) -> None:
    app.connect("source-read", _write_the_commands)
