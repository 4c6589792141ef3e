"""YAML with class names, such as YOLO's data.yaml.

Every scalar is read as the string that was written, so that the names "no" and "on" stay names.
"""

import re

import yaml

from escnet.class_lists.class_list import display_text
from escnet.errors import VocabularyError

_MAX_CHARACTERS = 2**20  # the reader is slow, and lists of names are short
_MAX_DEPTH = 32
# A key at the margin behind which a tool's list begins on the next line or with a bracket; any key
# behind which the next line is set in; a list of such.
_LIST_KEY = re.compile(
    r"^(?:names|classes|labels|categories|id2label|label2id|mask_targets)\s*:"
    r"[ \t]*(?:[\[{#&!].*)?$"
    r"|^[A-Za-z_][\w -]*:[ \t]*\n(?:[ \t]+[^\s:]|- \S)"
    r"|^- [\w ]+:.*\n[ \t]+\w+:",
    re.MULTILINE,
)


class _Loader(yaml.BaseLoader):
    """Strings, lists and mappings only; without references, which make small files large."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (* and &) are not read")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.YAMLError("nested too deeply")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, object]:  # noqa: ARG002 -- the base's signature
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.YAMLError("a key is no plain word")
            if key in mapping:
                raise yaml.YAMLError(f"key {display_text(key)} stands twice")
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


def is_yaml(text: str) -> bool:
    """Whether a text that is no JSON has a list of classes as YAML writes it."""
    return text.startswith("---") or _LIST_KEY.search(text) is not None


def read_yaml(text: str, shown: str) -> object:
    """The data in YAML text.

    Raises:
        VocabularyError: If it is no YAML, too long, nested too deeply, or a key stands twice.
    """
    if len(text) > _MAX_CHARACTERS:
        raise VocabularyError(
            f"{shown} has {len(text):,} characters of YAML, but {_MAX_CHARACTERS:,} are read: "
            "write the names into a file of their own, one a line"
        )
    try:
        return yaml.load(text, _Loader)  # noqa: S506 -- makes strings, lists and mappings only
    except yaml.MarkedYAMLError as error:
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        reason = f"{error.problem or 'a fault'}{line}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
    raise VocabularyError(f"{shown} looks like YAML and is not ({reason}): correct it there")
