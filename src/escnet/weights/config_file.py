"""A folder's config.json, which says what its tensors are, read without trusting it.

Folders come from other people and other programs. Whatever is wrong with the file, or with the
network that it describes, ends in one `WeightsError`.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from escnet.errors import EscnetError, WeightsError, first_line
from escnet.files import display_path
from escnet.small_file import SmallFile
from escnet.weights.bounds import check_model_settings

CONFIG_FILE = "config.json"

_SETTINGS = SmallFile(
    noun="model settings", error=WeightsError, cure="copy it again", most_bytes=8 * 2**20
)

# What our modules raise for settings that no network has, and those of transformers.
_UNUSABLE = (
    ArithmeticError,
    AttributeError,
    ImportError,  # of a library that is not here and that the settings ask for
    LookupError,
    RuntimeError,
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
            f"{display_path(path)} has model_type {model_type!r:.60}, no text: copy it again"
        )
    return config


def model_type_in(path: Path) -> str | None:
    """What a folder says of itself in transformers' form, such as "clip"; None if it does not."""
    model_type = config_in(path).get("model_type")
    return model_type if isinstance(model_type, str) else None


def config_in(path: Path) -> dict[str, object]:
    """The settings in a folder; none if they cannot be read, which whoever needs them will say."""
    try:
        return read_json_config(path / CONFIG_FILE) or {}
    except WeightsError:
        return {}


def check_settings(config: Mapping[str, Any], path: Path) -> None:
    """Check that the settings in a file ask for nothing that no network needs.

    Raises:
        WeightsError: Naming the setting.
    """
    check_model_settings(config, f"model settings {display_path(path)}", WeightsError)


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
    # Of transformers' settings; who has none of it has no network to build.
    hub = sys.modules.get("huggingface_hub.errors")
    of_settings = () if hub is None else (hub.StrictDataclassError,)
    try:
        yield
    except (*_UNUSABLE, *of_settings) as error:
        raise kind(
            f"{display_path(source)} does not describe a network of this version "
            f"({first_line(error)}): {cure}"
        ) from error
