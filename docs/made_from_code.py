"""The parts of the reference that are made from the code when the site is built."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

import typer
import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click

from escnet.annotations.registry import FORMATS
from escnet.cli.main import app
from escnet.training.config import Recipe


def commands() -> str:
    """Every verb of the command line with its options, as Markdown."""
    command = typer.main.get_command(app)
    told = get_docs_for_click(obj=command, ctx=typer.Context(command), name="escnet", indent=1)
    # Its first line is the page's title again, below which a verb is one level, not two.
    return told.partition("\n")[2].replace("\n###", "\n##").strip()


def formats() -> str:
    """A table of the formats of results, as Markdown."""
    rows = [f"| `{name}` | {one.about} | `{one.path}` |" for name, one in FORMATS.items()]
    return "\n".join(["| format | what it is, and for what | first file |", "|---|---|---|", *rows])


def settings() -> str:
    """Every section of a recipe with a table of its settings, as Markdown."""
    return "\n\n".join(_section(path, section) for path, section in _sections("", Recipe))


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections below one, each with its place in the file, in the order of the code."""
    for name, field in model.model_fields.items():
        if (section := _section_type(field.annotation)) is not None:
            place = f"{path}.{name}".strip(".")
            is_list = getattr(field.annotation, "__origin__", None) is tuple
            yield f"[[{place}]]" if is_list else f"[{place}]", section
            yield from _sections(place, section)


def _section_type(annotation: Any) -> type[BaseModel] | None:
    """The section that a setting holds: itself, one that may be missing, or many."""
    for one in (annotation, *get_args(annotation)):
        if inspect.isclass(one) and issubclass(one, BaseModel):
            return one
    return None


def _section(place: str, model: type[BaseModel]) -> str:
    told = inspect.cleandoc(model.__doc__ or "")
    introduction, _, attributes = told.partition("\nAttributes:\n")
    meanings = _meanings(attributes)
    rows = [
        f"| `{name}` | {_default(field)} | {meanings.get(name, '')} |"
        for name, field in model.model_fields.items()
        if _section_type(field.annotation) is None
    ]
    table = ["| setting | default | what it is |", "|---|---|---|", *rows] if rows else []
    return "\n".join([f"## {place}", "", introduction.strip(), "", *table])


def _meanings(attributes: str) -> dict[str, str]:
    """What an Attributes section of a docstring says of each name, in one line."""
    entries = re.split(r"^(\w+): ", textwrap.dedent(attributes), flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split()).replace("|", r"\|")
        for name, text in zip(entries[::2], entries[1::2], strict=True)
    }


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(needed)"
    value = field.get_default(call_default_factory=True)
    shown = {None: "none", True: "true", False: "false", "": '""', (): "[]"}
    if isinstance(value, bool | None | tuple | str) and value in shown:
        return f"`{shown[value]}`"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{value!r}`".replace("'", '"')
