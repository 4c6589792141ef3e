"""Python source with class names, such as mmsegmentation's METAINFO; it is parsed and never run."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress

from escnet.class_lists.class_list import display_text
from escnet.errors import VocabularyError

_MAX_CHARACTERS = 2**20
_NAMES = (
    "METAINFO",
    "metainfo",
    "CLASSES",
    "classes",
    "class_names",
    "CLASS_NAMES",
    "names",
    "labels",
)
_PALETTE = "PALETTE"  # the colours of CLASSES, in mmsegmentation before version 1
_ASSIGNMENT = re.compile(
    rf"^[ \t]*(?:{'|'.join(_NAMES)})\s*(?::[^=\n]*)?=\s*(?:dict\s*\(|[\[({{])", re.MULTILINE
)


def is_python(text: str) -> bool:
    """Whether a list or dictionary is assigned to one of the usual names."""
    return _ASSIGNMENT.search(text) is not None


def read_python(text: str, shown: str) -> object:
    """The data that is assigned in Python source, by name, or that a literal alone is.

    Raises:
        VocabularyError: If it is no Python, or what is assigned is no literal.
    """
    if len(text) > _MAX_CHARACTERS:
        raise VocabularyError(
            f"{shown} has {len(text):,} characters of Python, but {_MAX_CHARACTERS:,} are read: "
            "write the names into a file of their own, one a line"
        )
    try:
        tree = ast.parse(text)
        if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
            return _plain(_literal(tree.body[0].value))
        assigned = [
            (name, _plain(_literal(value)))
            for name, value in _assignments(tree)
            if name != _PALETTE
        ]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VocabularyError(
            f"{shown} looks like Python and its class names cannot be read ({reason}): "
            "write them into a file of their own, one a line"
        ) from None
    for name, data in assigned[1:]:
        if data != assigned[0][1]:
            raise VocabularyError(
                f"{shown} assigns different things to {display_text(assigned[0][0])} and "
                f"{display_text(name)}: keep the one with the class names"
            )
    if not assigned:
        raise VocabularyError(f"{shown} holds no class names: add some")
    names = assigned[0][1]
    palettes = [value for name, value in _assignments(tree) if name == _PALETTE]
    if palettes and isinstance(names, list):
        with suppress(SyntaxError, ValueError, TypeError):  # computed, so that nobody knows it
            return {"classes": names, "palette": _plain(_literal(palettes[0]))}
    return names


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The names and values assigned in the module and in its classes."""
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for node in body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id in (*_NAMES, _PALETTE):
                    yield target.id, node.value


def _literal(node: ast.expr) -> object:
    """The value of a literal, in which dict(key=value) is one as well."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("dict() has more than key=value")
        return {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    return ast.literal_eval(node)


def _plain(value: object) -> object:
    """The value with lists for tuples and strings for a mapping's keys."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        raise ValueError("a set has no order")
    return value
