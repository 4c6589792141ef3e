"""Python source with class names, such as mmsegmentation's METAINFO; it is parsed and never run."""

import ast
import re
import tokenize
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from itertools import islice

from escnet.class_lists.class_list import display_text
from escnet.errors import VocabularyError

_MAX_CHARACTERS = 2**20
# Variables that hold class names, such as METAINFO, VOC_CLASSES, id2label and category_names.
_NAMES = re.compile(r"\w*(?:metainfo|class|label|name|categor|vocab)\w*", re.IGNORECASE | re.ASCII)
_PALETTE = "PALETTE"  # the colours of CLASSES, in mmsegmentation before version 1
_CONTAINERS = (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.Call, ast.BinOp)
_MAX_TOKENS = 16
_ASSIGNMENT = re.compile(
    r"^[ \t]*(?P<name>[A-Za-z_]\w{0,99})[ \t]*(?::[^=\n]*)?=\s*(?:dict\s*\(|[\[({])", re.MULTILINE
)


def is_python(text: str) -> bool:
    """Whether a list or dictionary is assigned to one of the usual names."""
    return any(_NAMES.fullmatch(match["name"]) for match in _ASSIGNMENT.finditer(text))


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
    text = text.strip()
    try:
        tree = ast.parse(text)
        if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
            return _plain(_literal(tree.body[0].value, text))
        assigned = [
            (name, _plain(_literal(value, text)))
            for name, value in _assignments(tree)
            if name != _PALETTE and isinstance(value, _CONTAINERS)
        ]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = re.sub(
            r"malformed node or string( on line \d+)?: <ast\..*", r"they are computed\1", reason
        ).replace("<unknown>, ", "")
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
            return {"classes": names, "palette": _plain(_literal(palettes[0], text))}
    return names


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The names and values assigned in the module and in its classes."""
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for node in body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and (
                    target.id == _PALETTE or _NAMES.fullmatch(target.id)
                ):
                    yield target.id, node.value


def _literal(node: ast.expr, text: str) -> object:
    """The value of a literal, in which dict(key=value) is one as well.

    Raises:
        ValueError: If it is none, or two strings stand side by side, which Python makes one.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("dict() has more than key=value")
        return {str(keyword.arg): _literal(keyword.value, text) for keyword in node.keywords}
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            _refuse_joined(part, part.value, text)
    return ast.literal_eval(node)


def _refuse_joined(string: ast.Constant, value: str, text: str) -> None:
    is_one_line = string.lineno == string.end_lineno
    written = (string.end_col_offset or 0) - string.col_offset
    if is_one_line and written <= len(value.encode()) + 2:
        return  # nothing but the string between its quotes
    source = ast.get_source_segment(text, string) or ""
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    if sum(token.type == tokenize.STRING for token in islice(tokens, _MAX_TOKENS)) > 1:
        raise ValueError(f"no comma between two strings, line {string.lineno}")


def _plain(value: object) -> object:
    """The value with lists for tuples and strings for a mapping's keys."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        raise ValueError("a set has no order")
    return value
