"""Where the results of many pictures go, and which of them are there already.

The pictures' folders are mirrored below the output folder, counted from the folder that all
pictures have in common; so the pictures of one folder land in the output folder itself. Pictures in
one folder that share a stem (a.jpg and a.png) get their whole file names instead
(a.jpg.labels.png and a.png.labels.png), so that none overwrites another.
"""

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from escnet.annotations.format import Place
from escnet.annotations.registry import FORMATS, check_places
from escnet.annotations.summary import FORMAT
from escnet.errors import ANOTHER_FOLDER, OutputError
from escnet.files import check_replaceable, display_path, remove_leftovers
from escnet.small_file import SmallFile, regular_file

FAILURES_FILE = "failures.json"

_NOT_OURS = (ValueError, LookupError, TypeError)  # from JSON of another shape
_SUMMARY = SmallFile(noun="", error=OutputError, cure=ANOTHER_FOLDER)


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """Where the results of one picture, or of one page of it, go."""

    picture: Path
    out: Path
    place: Place
    page: int = 1

    def files(self, formats: Sequence[str]) -> dict[str, Path]:
        """The path of each format's first file."""
        return {kind: self.out / FORMATS[kind].first_file(self.place) for kind in formats}


def plan_outputs(
    paths: Iterable[str | Path],
    out: str | Path,
    pages_of: Callable[[Path], Sequence[int]] = lambda _: (1,),
) -> list[PlannedOutput]:
    """Where each picture's results go, by the rules of this module; no two go to one place.

    Args:
        paths: Picture files.
        out: The output folder.
        pages_of: The pages that are wanted of a picture, from 1; those after the first have
            `.page-N` behind their picture's stem.
    """
    pictures = [Path(path) for path in paths]
    folders = _below_common([p.parent for p in pictures])
    # disks that ignore case take A.json and a.json for one file
    shared = Counter(
        (str(folder).casefold(), picture.stem.casefold())
        for folder, picture in zip(folders, pictures, strict=True)
    )
    taken = {(str(Path()), Path(FAILURES_FILE).stem)}
    plan: list[PlannedOutput] = []
    for folder, picture in zip(folders, pictures, strict=True):
        place = str(folder).casefold()
        is_shared = shared[place, picture.stem.casefold()] > 1
        stem = (
            picture.name if is_shared or (place, picture.stem.casefold()) in taken else picture.stem
        )
        if (place, stem.casefold()) in taken:
            stem = _free_stem(picture.name, place, taken)
        below = "" if folder == Path() else f"{folder.as_posix()}/"
        for page in pages_of(picture):
            own = stem if page == 1 else _free_stem(f"{stem}.page-{page}", place, taken)
            taken.add((place, own.casefold()))
            where = Place(own, below, picture.name, number=len(plan) + 1)
            plan.append(PlannedOutput(picture, Path(out), where, page))
    return plan


def _free_stem(stem: str, place: str, taken: Container[tuple[str, str]]) -> str:
    """The stem, with a number behind it if a picture of this folder has it already."""
    free, number = stem, 1
    while (place, free.casefold()) in taken:
        number += 1
        free = f"{stem}-{number}"
    return free


def _below_common(folders: Sequence[Path]) -> list[Path]:
    absolute = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100 -- must keep links
    try:
        common = os.path.commonpath(absolute) if absolute else ""
    except ValueError:  # on several drives: nothing in common, so all in one folder
        return [Path() for _ in folders]
    return [Path(os.path.relpath(folder, common)) for folder in absolute]


def check_outputs(
    plan: Sequence[PlannedOutput],
    out: str | Path,
    formats: Sequence[str],
    *,
    classes_file: Path | None = None,
) -> None:
    """Make sure that results replace nothing but what escnet wrote, before anything is computed.

    Args:
        plan: The results that are going to be written.
        out: The output folder, where a job of several pictures lists its failures.
        formats: What is written for each picture.
        classes_file: The file that the class names came from.

    Raises:
        OutputError: If something else would be replaced.
    """
    if classes_file is not None:
        _keep_clear_of(classes_file, plan, formats)
    check_places(out, [output.place for output in plan], formats)
    if len(plan) > 1:
        check_replaceable([Path(out) / FAILURES_FILE])


def _keep_clear_of(
    classes_file: Path, plan: Sequence[PlannedOutput], formats: Sequence[str]
) -> None:
    for output in plan:
        for path in output.files(formats).values():
            with suppress(OSError, ValueError):  # most are not there, or cannot be
                if path.samefile(classes_file):
                    raise OutputError(
                        f"{display_path(path)} holds the class names and would be replaced by the "
                        f"result for {display_path(output.picture)}: {ANOTHER_FOLDER}"
                    )


def _sha256_of(path: Path) -> str:
    with regular_file(path, display_path(path), OutputError) as file:
        return file_digest(file, "sha256").hexdigest()


def existing_summary(
    source: Mapping[str, object], files: Mapping[str, Path]
) -> dict[str, Any] | None:
    """The content of STEM.json if it and the files that it vouches for are whole and current.

    Args:
        source: Name, bytes and SHA-256 of the picture's file.
        files: The path of each format's file.
    """
    try:
        summary = _SUMMARY.object_of(files["json"])
        if summary["format"] != FORMAT:  # another version's, which may mean other things
            return None
        if summary["source"] != source:  # made of another picture, or by a version that told none
            return None
        sealed = summary["files"]
        for kind, path in files.items():
            if kind == "json":
                continue
            if _sha256_of(path) != sealed[kind]["sha256"]:
                return None
            for more in sealed[kind].get("more", []):
                if _sha256_of(files["json"].parent / more["file"]) != more["sha256"]:
                    return None
        briefly(summary)  # and what else will be asked of it is there
        making_of(summary)
    except (OSError, OutputError, *_NOT_OURS):  # absent, damaged, or not a file of ours
        return None
    return summary


def briefly(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The part that differs between pictures: a job keeps it for each of a million."""
    present = [entry for entry in summary["names"] if entry["mean_confidence"] is not None]
    brief = {key: summary[key] for key in ("height", "width", "void", "reading")}
    brief |= {"groups": summary["groups"]} if "groups" in summary else {}
    return brief | {"names": sorted(present, key=lambda entry: -entry["share"])}


def making_of(summary: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes the files: names, model, weights, settings, and how formats are written."""
    names = [entry["name"] for entry in summary["names"]]
    made = (summary[key] for key in ("model", "weights_hash", "settings", "format_options"))
    return names, *made


def clean_up(plan: Sequence[PlannedOutput], formats: Sequence[str]) -> None:
    """Delete the temporary files that a killed job left where this one is going to write."""
    names: dict[Path, list[str]] = {}
    written = [path for output in plan for path in output.files(formats).values()]
    if plan:
        whole = (path for kind in formats for path in FORMATS[kind].whole_paths)
        written += [plan[0].out / path for path in whole]
    for path in written:
        names.setdefault(path.parent, []).append(path.name)
    for folder, of_folder in names.items():
        remove_leftovers(folder, of_folder)
