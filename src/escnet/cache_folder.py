"""Where escnet keeps what it can make again, and how much of it.

The platform's own cache folder (`~/.cache/escnet` on Linux), or the one that the environment names
as ESCNET_CACHE. All that lies there may be deleted at any time.
"""

import os
from pathlib import Path

import platformdirs

from escnet.errors import ConfigError

FOLDER_VARIABLE = "ESCNET_CACHE"
SIZE_VARIABLE = "ESCNET_CACHE_MB"

_USUAL_MEGABYTES = 256
_MEGABYTE = 1_000_000


def cache_folder() -> Path:
    """The folder, which may not exist yet.

    Raises:
        ConfigError: If this user has no home folder and none is named.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).absolute()
    folder = Path(platformdirs.user_cache_dir("escnet", appauthor=False))
    if not folder.is_absolute():
        raise ConfigError(f"there is no home folder for a cache: set {FOLDER_VARIABLE} to a folder")
    return folder


def most_text_bytes() -> int:
    """How many bytes of text embeddings are kept, 0 for none.

    Raises:
        ConfigError: If the environment asks for something that is no size.
    """
    asked = os.environ.get(SIZE_VARIABLE) or str(_USUAL_MEGABYTES)
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        raise ConfigError(
            f"{SIZE_VARIABLE} is {asked!r}, no number of megabytes: set it to a whole number, "
            "0 to keep no text embeddings"
        )
    return int(asked) * _MEGABYTE
