"""Long work in parts: what is finished is kept on disk until the whole is done.

A part's file appears whole or not at all, so a killed run goes on with the next one, if all that
the parts depend on is the same.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from escnet.annotations.json_text import to_json, to_marked_json
from escnet.errors import OutputError
from escnet.files import claim_folder, replace_file
from escnet.small_file import SmallFile

_MAKING = "making.json"
_ABOUT = "Finished parts of a long job, for `escnet segment --resume`. Delete this folder freely."
_SMALL = SmallFile(noun="", error=OutputError, cure="run without --resume")


@dataclass(frozen=True, slots=True)
class PartReport:
    """What became of a part: "written", or "skipped", as an earlier run has finished it."""

    status: Literal["written", "skipped"]


class PartsFolder:
    """Where finished parts lie.

    Args:
        folder: Escnet's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, making: Mapping[str, object], *, resume: bool) -> None:
        """Make the folder, empty unless it holds parts that are made alike.

        Args:
            making: All that the parts depend on, as `plain` gives it.
            resume: Whether parts of an equal run stay.

        Raises:
            OutputError: If it cannot be written, or holds files that escnet did not write.
        """
        claim_folder(self.folder, _ABOUT)
        if not (resume and self._making() == making):
            self.remove()
            claim_folder(self.folder, _ABOUT)
            replace_file(self.folder / _MAKING, to_marked_json({"making": making}))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _making(self) -> object:
        try:
            return _SMALL.object_of(self.folder / _MAKING).get("making")
        except OutputError:
            return None


def plain(making: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON gives them back."""
    values: dict[str, Any] = json.loads(to_json(making))
    return values


def existing_whole(
    summary_file: Path, making: Mapping[str, Any], files: Mapping[str, Path]
) -> dict[str, Any] | None:
    """What the JSON about a whole holds, if an equal run has made it and all files asked for.

    Args:
        summary_file: Which holds the making, and the files' sizes.
        making: As in `PartsFolder.begin`, with the names.
        files: The others by their kind.
    """
    try:
        summary = _SMALL.object_of(summary_file)
        names = [entry["name"] for entry in summary["names"]]
        sizes = {kind: path.stat().st_size for kind, path in files.items()}
    except (OutputError, OSError, LookupError, TypeError):
        return None
    same = {key: summary.get(key) for key in making} | {"names": names}
    told = summary.get("files")
    is_whole = isinstance(told, dict) and all(told.get(kind) == sizes[kind] for kind in sizes)
    return summary if is_whole and same == making else None
