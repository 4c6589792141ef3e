"""From a file of any of the known kinds to its class names."""

from pathlib import Path

from escnet.class_lists.class_list import ClassList
from escnet.class_lists.data import read_data
from escnet.class_lists.file import read_text
from escnet.class_lists.json_text import NotJsonError, read_json
from escnet.class_lists.lines import read_lines
from escnet.class_lists.names_file import is_names_file, read_names_file
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
    start = text.lstrip()[:1]
    if start == "<":
        return read_xml(text.strip(), shown)
    if is_names_file(text):
        return read_names_file(text, shown)
    if start in {"{", "["}:
        return _of_brackets(text, shown)
    if start == "(" or is_python(text):
        return read_data(read_python(text.strip(), shown), shown, "Python")
    if is_yaml(text):
        return read_data(read_yaml(text, shown), shown, "YAML")
    return read_lines(text, shown)


def _of_brackets(text: str, shown: str) -> ClassList:
    """JSON; or Python's lists and dictionaries, which differ in quotes and kinds of keys."""
    try:
        return read_data(read_json(text, shown), shown, "JSON")
    except NotJsonError as error:
        try:
            data = read_python(text.strip(), shown)
        except VocabularyError:
            raise error from None
    return read_data(data, shown, "Python")
