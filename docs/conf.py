"""Sphinx's settings for the site: `make docs` builds it, and any warning fails the build."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

import escnet

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside this one

from made_from_code import commands, formats, settings

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

_MADE = {
    "reference/command-line": ("<!-- every verb, from `escnet --help` -->", commands),
    "reference/file-formats": ("<!-- every format, from the registry -->", formats),
    "reference/recipes": ("<!-- every setting, from the recipe's docstrings -->", settings),
}


def _fill_in(_app: Sphinx, page: str, text: list[str]) -> None:
    """Puts what is made from the code where a page says so."""
    if page in _MADE:
        mark, make = _MADE[page]
        text[0] = text[0].replace(mark, make())


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill_in)
