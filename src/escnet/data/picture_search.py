"""Which files a job's sources name: pictures by their suffix, and what is passed over, counted."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from escnet.data.picture_formats import IMAGE_SUFFIXES
from escnet.errors import ImageError
from escnet.files import display_path, is_ours

_MOST_SHOWN = 6  # kinds in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSearch:
    """The files that some sources name.

    Attributes:
        paths: Pictures, in the order of the sources, each once.
        passed_over: How many other files of each suffix lie beside them, without what escnet wrote;
            "" is no suffix.
        unreadable: Folders within folders that could not be looked into, with the reason.
    """

    paths: tuple[Path, ...]
    passed_over: Mapping[str, int]
    unreadable: tuple[str, ...]

    def remarks(self) -> list[str]:
        """What a user should know of, a line each; nothing where every file is a picture."""
        lines = list(self.unreadable)
        if number := sum(self.passed_over.values()):
            common = Counter(self.passed_over).most_common()
            kinds = [f"{count} {suffix or 'without a suffix'}" for suffix, count in common]
            rest = [f"{len(kinds) - _MOST_SHOWN} other kinds"] if len(kinds) > _MOST_SHOWN else []
            noun = "file is" if number == 1 else "files are"
            shown = ", ".join(kinds[:_MOST_SHOWN] + rest)
            lines.append(f"{number} {noun} passed over, which no picture is called: {shown}")
        return lines


def find_images(
    sources: str | Path | Sequence[str | Path], *, recursive: bool = False
) -> list[Path]:
    """The picture files that the sources name; see `find_pictures`.

    Raises:
        ImageError: If a source matches nothing.
    """
    return list(find_pictures(sources, recursive=recursive).paths)


def find_pictures(
    sources: str | Path | Sequence[str | Path], *, recursive: bool = False
) -> PictureSearch:
    """The picture files that the sources name, and what lies beside them.

    Args:
        sources: Files, taken whatever they are called; folders, of which the files with a suffix
            of `IMAGE_SUFFIXES` are taken in natural order (2.png before 10.png); patterns such as
            "holiday/*.jpg", whose matches are taken likewise. Hidden files are left out. What
            exists under its name is no pattern, even with wildcards in it.
        recursive: Also take the folders within folders, and let ** in a pattern span folders. One
            that cannot be looked into is told and does not stop the others.

    Raises:
        ImageError: If a source matches nothing.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    path_of: dict[str, Path] = {}
    passed_over: Counter[str] = Counter()
    unreadable: list[str] = []
    for source in sources:
        for path in _files_of(source, recursive, passed_over, unreadable):
            path_of.setdefault(os.path.abspath(path), path)  # noqa: PTH100 -- must keep links apart
    return PictureSearch(
        paths=tuple(path_of.values()), passed_over=passed_over, unreadable=tuple(unreadable)
    )


def natural_key(path: Path) -> tuple[tuple[tuple[str | int, ...], ...], str]:
    """A sorting key by which numbers in names count as numbers, folder by folder."""
    parts = (re.split(r"(\d+)", part.casefold()) for part in path.parts)
    # every second piece is a number, so that only like is compared with like
    pieces = (tuple(int(p) if i % 2 else p for i, p in enumerate(part)) for part in parts)
    return tuple(pieces), str(path)


def _files_of(
    source: str | Path, recursive: bool, passed_over: Counter[str], unreadable: list[str]
) -> list[Path]:
    text, path = str(source), Path(source)
    if not text.strip():
        raise ImageError(f"source {text!r} names nothing: give a file, a folder or a pattern")
    if os.path.isdir(path):  # noqa: PTH112 -- unlike Path.is_dir it never raises
        kind, candidates = "folder", list(_walk(path, recursive, unreadable))
    elif os.path.lexists(path):
        return [path]
    elif has_magic(text):
        # glob leaves hidden files out, which Path.glob does not
        kind, candidates = "pattern", [Path(p) for p in glob(text, recursive=recursive)]  # noqa: PTH207
    else:
        raise ImageError(f"picture {display_path(path)} does not exist: check the path")
    pictures: list[Path] = []
    others: list[Path] = []
    for candidate in candidates:
        if not os.path.isdir(candidate):  # noqa: PTH112
            is_picture = candidate.suffix.lower() in IMAGE_SUFFIXES
            (pictures if is_picture else others).append(candidate)
    if not pictures:
        raise ImageError(_nothing_in(kind, path, others, recursive))
    passed_over.update(other.suffix.lower() for other in others if not is_ours(other))
    return sorted(pictures, key=natural_key)


def _nothing_in(kind: str, path: Path, others: Sequence[Path], recursive: bool) -> str:
    suffixes = ", ".join(IMAGE_SUFFIXES)
    beside = f" among {len(others)} files" if others else ""
    # only folders have folders within; a pattern spans them by its own **
    within = kind == "folder" and not recursive and any(map(os.path.isdir, _entries(path)))
    cure = "pass --recursive to search folders in folders" if within else "check the path"
    return f"{kind} {display_path(path)} holds no picture{beside} ({suffixes}): {cure}"


def _entries(folder: Path) -> list[str]:
    return [entry.path for entry in os.scandir(folder)]


def _walk(folder: Path, recursive: bool, unreadable: list[str]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        told = f"folder {display_path(error.filename)} cannot be read ({error.strerror})"
        if Path(error.filename) == folder:
            raise ImageError(f"{told}: check its permissions")
        unreadable.append(f"{told} and is passed over")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        yield from (Path(parent, name) for name in files if not name.startswith("."))
        folders[:] = [f for f in folders if recursive and not f.startswith(".")]
