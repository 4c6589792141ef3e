"""Where a part of a checkpoint came from: kept in its configuration and shown to whoever asks.

A checkpoint joins the work of several others. Its configuration holds, under `origins`, one record
for each file that went into it, so that the question "whose weights are these, and may I use them?"
can be answered from the folder alone.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from escnet.errors import WeightsError
from escnet.files import display_path
from escnet.small_file import regular_file

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One file that a part of the network was read from.

    Attributes:
        part: The part of the network, such as "image tower", "text tower", "SAM".
        name: The name under which its makers publish the file.
        sha256: Of the file that was read, 64 lower-case hexadecimal digits.
        licence: SPDX identifier, or "unknown".
        description: What it is, in one line.
    """

    part: str
    name: str
    sha256: str
    licence: str
    description: str

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise WeightsError(
                f"origin {self.name!r} has the SHA-256 {self.sha256!r}: "
                "it must be 64 lower-case hexadecimal digits"
            )

    def to_dict(self) -> dict[str, str]:
        """The record as plain strings, as a checkpoint's config.json stores it."""
        return asdict(self)


def origins_of(records: object) -> tuple[Origin, ...]:
    """The origins stored in a configuration.

    Raises:
        WeightsError: If they are no list, or a record lacks a field or has one too many.
    """
    if not isinstance(records, list | tuple):
        raise WeightsError(
            f"the checkpoint's origins are {records!r:.60}: they must be a list of records"
        )
    names = [field.name for field in fields(Origin)]
    origins = []
    for number, record in enumerate(records, start=1):
        if not isinstance(record, Mapping) or sorted(record) != sorted(names):
            raise WeightsError(
                f"origin {number} of the checkpoint is {record!r}: it must have exactly the fields "
                f"{', '.join(names)}"
            )
        origins.append(Origin(**{name: str(record[name]) for name in names}))
    return tuple(origins)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 lower-case hexadecimal digits.

    Raises:
        WeightsError: If the file cannot be read.
    """
    with regular_file(path, f"weights file {display_path(path)}", WeightsError) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
