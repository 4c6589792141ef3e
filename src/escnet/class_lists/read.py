"""From a file of any of the known kinds to its class names."""

import re
from collections.abc import Callable
from pathlib import Path

from escnet.class_lists.class_list import ClassList
from escnet.class_lists.data import read_data
from escnet.class_lists.file import LIST_FILE, read_text
from escnet.class_lists.json_text import NotJsonError, read_json
from escnet.class_lists.lines import read_lines
from escnet.class_lists.names_file import is_names_file, read_names_file
from escnet.class_lists.pbtxt import is_pbtxt, read_pbtxt
from escnet.class_lists.python_text import is_python, read_python
from escnet.class_lists.xml_text import read_xml
from escnet.class_lists.yaml_text import is_yaml, read_yaml
from escnet.errors import VocabularyError
from escnet.files import display_path


def read_class_list(path: str | Path) -> ClassList:
    """The class names of a file, whatever tool wrote it.

    docs/reference/class-lists.md has the kinds. The content says what it is; the suffix does not
    matter. Names are not checked further: `Vocabulary.of` does that.

    Raises:
        VocabularyError: If the file cannot be read, holds no names, or has two readings.
    """
    path = Path(path)
    return recognise(read_text(path), display_path(path))


def recognise(text: str, shown: str) -> ClassList:
    """The class names in a text.

    Args:
        text: What a file holds.
        shown: How messages call the file.

    Raises:
        VocabularyError: If it holds no names, or has two readings.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    for is_kind, read in _KINDS:
        if is_kind(text):
            return read(text, shown)
    return read_lines(text, shown)


def _of_python(text: str, shown: str) -> ClassList:
    return read_data(read_python(text, shown), shown, "Python")


def _of_yaml(text: str, shown: str) -> ClassList:
    return read_data(read_yaml(text, shown), shown, "YAML")


def _of_toml(text: str, shown: str) -> ClassList:
    return read_data(LIST_FILE.parsed_toml(text, shown), shown, "TOML")


def _of_json_lines(text: str, shown: str) -> ClassList:
    rows = [read_json(line, shown) for line in text.split("\n") if line.strip()]
    return read_data(rows, shown, "JSON lines")


def _of_brackets(text: str, shown: str) -> ClassList:
    """JSON; or lists and objects of Python and YAML, which differ in quotes."""
    try:
        return read_data(read_json(text, shown), shown, "JSON")
    except NotJsonError as error:
        try:
            data = read_python(text, shown)
        except VocabularyError:
            return _of_bare_words(text, shown, error)
    return read_data(data, shown, "Python")


def _of_bare_words(text: str, shown: str, error: NotJsonError) -> ClassList:
    """YAML's list of words without quotes, `[cup, table]`; for all else the error of JSON."""
    try:
        data = read_yaml(text, shown)
    except VocabularyError:
        raise error from None
    if not isinstance(data, list):
        raise error
    return read_data(data, shown, "YAML")


def _begins_with(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(rf"\s*{pattern}")
    return lambda text: compiled.match(text) is not None


# How each kind is recognised, the first that fits; what is none of them is lines of text.
_KINDS: tuple[tuple[Callable[[str], bool], Callable[[str, str], ClassList]], ...] = (
    (_begins_with(r"[(\[]\d{1,9}[)\]][ \t]*[^\s,)\]]"), read_lines),  # "[0] cup", "(1) cup"
    (_begins_with("<"), read_xml),
    (is_pbtxt, read_pbtxt),
    (is_names_file, read_names_file),
    (_begins_with(r"\[[\w. -]{1,99}\][ \t]*\n"), _of_toml),
    (_begins_with(r"\{[^\n]*\}[ \t]*\n\s*\{"), _of_json_lines),
    (_begins_with(r"[{\[]"), _of_brackets),
    (_begins_with(r"\("), _of_python),
    (is_python, _of_python),
    (is_yaml, _of_yaml),
)
