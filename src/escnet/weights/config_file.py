"""A folder's config.json, which says what its tensors are, read without trusting it.

Folders come from other people and other programs. Whatever is wrong with the file, or with the
network that it describes, ends in one `WeightsError`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from escnet.errors import EscnetError, WeightsError, first_line
from escnet.files import shown_path
from escnet.small_file import SmallFile
from escnet.weights.bounds import check_model_settings

CONFIG_FILE = "config.json"

_SETTINGS = SmallFile(
    noun="model settings", error=WeightsError, cure="copy it again", most_bytes=8 * 2**20
)

# What our modules and those of transformers raise for settings that no network has.
_UNUSABLE = (
    ArithmeticError,
    AttributeError,
    ImportError,  # of a library that is not here and that the settings ask for
    LookupError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)


def read_json_config(path: Path) -> dict[str, Any] | None:
    """The settings in a file; None where there is no such file.

    `model_type`, which tells folders apart, is a text wherever it is given.

    Raises:
        WeightsError: If the file cannot be read, or is no JSON object.
    """
    if not os.path.lexists(path):
        return None
    config = _SETTINGS.object_of(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str | None):
        raise WeightsError(
            f"{shown_path(path)} has model_type {model_type!r:.60}, no text: copy it again"
        )
    return config


def check_settings(config: Mapping[str, Any], path: Path) -> None:
    """Check that the settings in a file ask for nothing that no network needs.

    Raises:
        WeightsError: Naming the setting.
    """
    check_model_settings(config, f"model settings {shown_path(path)}", WeightsError)


@contextmanager
def refuse_unusable(
    source: Path | str,
    *,
    cure: str = "copy it again, or use the version that wrote it",
    kind: type[EscnetError] = WeightsError,
) -> Iterator[None]:
    """Run a block that builds what some settings describe; its errors are theirs.

    Args:
        source: Where they stand, for the message.
        cure: What to do about it; the end of the line.
        kind: The kind of error to raise.

    Raises:
        EscnetError: Of that kind, if no network can be built of them.
    """
    try:
        yield
    except _UNUSABLE as error:
        raise kind(
            f"{shown_path(source)} does not describe a network of this version "
            f"({first_line(error)}): {cure}"
        ) from error
