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
from escnet.mini.training.recipe import MiniRecipe
from escnet.training.pictures_recipe import PicturesRecipe


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
    """Every section of both kinds of recipe with a table of its settings, as Markdown."""
    sections = {**dict(_sections("", PicturesRecipe)), **dict(_sections("", MiniRecipe))}
    # What both have is told once, by the recipe with more of it.
    sections["[training]"] = dict(_sections("", PicturesRecipe))["[training]"]
    return "\n\n".join(_section(path, section) for path, section in sections.items())


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections below one, each with its place in the file, in the order of the code."""
    for name, field in model.model_fields.items():
        place = f"{path}.{name}".strip(".")
        kinds = list(_section_types(field.annotation))
        is_list = getattr(field.annotation, "__origin__", None) is tuple
        for kind in kinds:
            title = f"[[{place}]]" if is_list else f"[{place}]"
            if len(kinds) > 1:
                (tag,) = get_args(kind.model_fields["kind"].annotation)
                title += f' of kind "{tag}"'
            yield title, kind
            yield from _sections(place, kind)


def _section_types(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a setting may hold: itself, one that may be missing, or many."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for one in get_args(annotation):
        yield from _section_types(one)


def _section(place: str, model: type[BaseModel]) -> str:
    introduction = inspect.cleandoc(model.__doc__ or "").partition("\nAttributes:\n")[0]
    meanings: dict[str, str] = {}
    for kind in reversed(model.__mro__):  # what a section inherits is told where it comes from
        if issubclass(kind, BaseModel):
            told = inspect.cleandoc(kind.__doc__ or "")
            meanings |= _meanings(told.partition("\nAttributes:\n")[2])
    rows = [
        f"| `{name}` | {_default(field)} | {meanings.get(name, '')} |"
        for name, field in model.model_fields.items()
        if not any(_section_types(field.annotation))
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
