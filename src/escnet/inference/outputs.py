"""Where the results of many pictures go, and which of them are there already.

The pictures' folders are mirrored below the output folder, counted from the folder that all
pictures have in common; so the pictures of one folder land in the output folder itself. Pictures in
one folder that share a stem (a.jpg and a.png) get their whole file names instead
(a.jpg.labels.png and a.png.labels.png), so that none overwrites another.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from escnet.annotations.files import remove_leftovers
from escnet.segmentation import FORMATS

FAILURES_FILE = "failures.json"
NOT_OURS = (ValueError, LookupError, TypeError, RecursionError)  # from JSON of another shape


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """Where the results of one picture go."""

    picture: Path
    folder: Path
    stem: str

    def files(self, formats: Sequence[str]) -> dict[str, Path]:
        """The path of each format's file."""
        return {kind: self.folder / f"{self.stem}{FORMATS[kind]}" for kind in formats}


def plan_outputs(paths: Sequence[str | Path], out: str | Path) -> list[PlannedOutput]:
    """Where each picture's results go, by the rules of this module; no two go to one place."""
    pictures = [Path(path) for path in paths]
    folders = [Path(out) / folder for folder in _below_common([p.parent for p in pictures])]
    # disks that ignore case take A.json and a.json for one file
    shared = Counter(
        (str(folder).casefold(), picture.stem.casefold())
        for folder, picture in zip(folders, pictures, strict=True)
    )
    taken = {(str(Path(out)).casefold(), Path(FAILURES_FILE).stem)}
    plan = []
    for folder, picture in zip(folders, pictures, strict=True):
        place = str(folder).casefold()
        is_shared = shared[place, picture.stem.casefold()] > 1
        stem = (
            picture.name if is_shared or (place, picture.stem.casefold()) in taken else picture.stem
        )
        number = 1
        while (place, stem.casefold()) in taken:
            number += 1
            stem = f"{picture.name}-{number}"
        taken.add((place, stem.casefold()))
        plan.append(PlannedOutput(picture, folder, stem))
    return plan


def _below_common(folders: Sequence[Path]) -> list[Path]:
    absolute = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100 -- must keep links
    try:
        common = os.path.commonpath(absolute) if absolute else ""
    except ValueError:  # on several drives: nothing in common, so all in one folder
        return [Path() for _ in folders]
    return [Path(os.path.relpath(folder, common)) for folder in absolute]


def finished_summary(picture: Path, files: Mapping[str, Path]) -> dict[str, Any] | None:
    """The content of STEM.json if it and the files that it vouches for are whole and current."""
    try:
        content = files["json"].read_bytes()
        # a picture that was replaced after its result was made has none
        if picture.stat().st_mtime_ns > files["json"].stat().st_mtime_ns:
            return None
        summary = json.loads(content)
        sealed = summary["files"]
        for kind, path in files.items():
            if kind != "json" and sha256(path.read_bytes()).hexdigest() != sealed[kind]["sha256"]:
                return None
        briefly(summary)  # and what else will be asked of it is there
        made_by(summary)
    except (OSError, *NOT_OURS):  # absent, damaged, or not a file of ours
        return None
    return summary


def briefly(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The part that differs between pictures: a job keeps it for each of a million."""
    present = [entry for entry in summary["names"] if entry["mean_confidence"] is not None]
    brief = {key: summary[key] for key in ("height", "width", "void")}
    return brief | {"names": sorted(present, key=lambda entry: -entry["share"])}


def made_by(summary: Mapping[str, Any]) -> tuple[object, ...]:
    """Names, model, weights, and settings: where these are equal, so are the results."""
    names = [entry["name"] for entry in summary["names"]]
    return names, summary["model"], summary["weights_hash"], summary["settings"]


def clean_up(plan: Sequence[PlannedOutput], formats: Sequence[str]) -> None:
    """Delete the temporary files that a killed job left where this one is going to write."""
    names: dict[Path, list[str]] = {}
    for output in plan:
        names.setdefault(output.folder, []).extend(p.name for p in output.files(formats).values())
    for folder, of_folder in names.items():
        remove_leftovers(folder, of_folder)
