"""JSON with class names."""

import json

from escnet.class_lists.class_list import display_text
from escnet.errors import VocabularyError


class NotJsonError(VocabularyError):
    """The text is not written as JSON is."""


def read_json(text: str, shown: str) -> object:
    """The data in JSON text.

    Raises:
        NotJsonError: If it is no JSON.
        VocabularyError: If it is nested too deeply, or an object has a key twice.
    """

    def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # A dictionary keeps the last of two equal labels and would hide the first.
        names: dict[str, object] = {}
        for name, value in pairs:
            if name in names:
                raise VocabularyError(
                    f"{shown} has label {display_text(name)} twice: leave one out"
                )
            names[name] = value
        return names

    try:
        return json.loads(text, object_pairs_hook=object_of)
    except json.JSONDecodeError as error:
        raise NotJsonError(
            f"{shown} is not JSON ({error.msg} at line {error.lineno}): correct it there"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 10,000 brackets
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number too long"
        raise VocabularyError(f"{shown} is no list of class names ({reason})") from None
