"""Files that appear whole or not at all, and replace nothing that escnet did not write.

A file is written under a temporary name in its own folder and then renamed, so that a reader, a
killed job, or a full disk never leaves half a file under the name that others look for.

Whatever escnet writes for people bears a mark near its beginning: JSON has "escnet" as its first
key, Markdown, HTML and XML a comment, PNG, JPEG and TIFF a text. By the mark alone a later run
knows what it may replace; a file without it is somebody's own and stays, whatever it is called.
Formats of other programs have no place for a mark now and then: their files lie in a folder of
escnet's own, whose README.md bears it.
"""

import errno
import os
import re
import secrets
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from escnet.errors import ANOTHER_FOLDER, OutputError

MARK = "made by escnet"  # in a PNG's or JPEG's text, and in a comment of Markdown or HTML
MARK_COMMENT = f"<!-- {MARK} -->"
MARK_KEY = "escnet"  # the first of a JSON object
OWN_FOLDER_FILE = "README.md"
TEXT_EMBEDDINGS_KEY = "escnet_text_embeddings"  # the only one of a safetensors file's metadata

_HEAD_BYTES = 4096  # where the mark stands
_MARKED = re.compile(
    rb'\s*\{\s*"escnet"\s*:'
    rb"|(?:II[*+]\0|MM\0[*+]).*?made by escnet"
    rb"|<(?:PAMDataset|qgis)><!-- made by escnet -->"
    rb"|picture,name,share,mean_confidence,doubtful_share,"  # CSV has no place but its head
    rb"|(?:<!DOCTYPE html>\n)?<!-- made by escnet -->"
    rb'|.{7}\0\{"__metadata__":\{[^}]*"storage":"'  # of our checkpoint's tensors
    rb'|.{7}\0\{"__metadata__":\{"escnet_text_embeddings":"'
    rb"|(?:\x89PNG\r\n\x1a\n|\xff\xd8\xff).*?(?:made by escnet|escnet:names\0)",
    re.DOTALL,
)
_LONGEST_STEM = 180  # bytes of the name kept in the temporary one; file systems allow 255 in all
_PART = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.part")
_OF_ONE_NAME = {  # too long, not allowed, or with something else in its way
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTDIR,
}


def is_ours(path: str | Path) -> bool:
    """Whether a regular file is there and bears the mark of what escnet writes."""
    return is_marked(_head(Path(path)) or b"")


def is_marked(head: bytes) -> bool:
    """Whether what a file begins with, 4 KiB or more of it, bears escnet's mark."""
    return _MARKED.match(head) is not None


def is_foreign(path: str | Path) -> bool:
    """Whether a file is there that escnet did not write, and that holds something to lose."""
    head = _head(Path(path))
    return head is None or (head != b"" and _MARKED.match(head) is None)


def check_replaceable(paths: Iterable[str | Path]) -> None:
    """Make sure that files may be written; do so before anything that takes long.

    Raises:
        OutputError: If one is there that escnet did not write.
    """
    foreign = [path for path in paths if is_foreign(path)]
    if not foreign:
        return
    what = f"{display_path(foreign[0])} is no result of escnet and would be replaced"
    if len(foreign) > 1:
        what = (
            f"{len(foreign)} files are no results of escnet and would be replaced "
            f"(first: {display_path(foreign[0])})"
        )
    raise OutputError(f"{what}: {ANOTHER_FOLDER}")


def claim_folder(folder: str | Path, about: str) -> None:
    """Make a folder escnet's own by a README.md in it, so that `replace_file` may be used there.

    Args:
        folder: Created if it does not exist.
        about: The README's text.

    Raises:
        OutputError: If it holds files already and none says that it is escnet's own.
    """
    folder = Path(folder)
    check_claimable(folder)
    readme = folder / OWN_FOLDER_FILE
    if not is_ours(readme):
        make_folder(folder)
        replace_file(readme, f"{MARK_COMMENT}\n\n{about}\n".encode())


def check_claimable(folder: str | Path) -> None:
    """Make sure that `claim_folder` can have the folder.

    Raises:
        OutputError: If it holds files already and none says that it is escnet's own.
    """
    folder = Path(folder)
    if is_ours(folder / OWN_FOLDER_FILE):
        return
    with suppress(OSError):  # not there, or not to be read, which writing will tell
        if any(not _PART.fullmatch(entry.name) for entry in folder.iterdir()):
            raise OutputError(
                f"the folder {display_path(folder)} holds files that escnet did not write, and "
                "would get more: choose another folder for the results"
            )


def write_file(path: str | Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file atomically; one of the same name is replaced if it bears escnet's mark.

    Args:
        path: The file.
        content: What it will hold, at once or piece by piece.

    Raises:
        OutputError: If the folder or the file cannot be written, or a file that escnet did not
            write would be replaced; nothing is left behind then.
    """
    check_replaceable([path])
    replace_file(path, content)


def replace_file(path: str | Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file atomically in a folder that escnet keeps for itself, such as that of a run.

    One of the same name is replaced, whatever it holds.

    Args:
        path: The file.
        content: What it will hold, at once or piece by piece.

    Raises:
        OutputError: If the folder or the file cannot be written; nothing is left behind then.
    """
    path = Path(path)
    part = path.with_name(f".{_shortened(path.name)}.{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("xb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        raise OutputError(_cannot_write(path, error)) from error


def move_file(part: str | Path, path: str | Path, *, is_own_folder: bool = False) -> None:
    """Give a file that another program wrote its name, as `write_file` does.

    Args:
        part: The file, on the same disk.
        path: What it will be called; a file of this name is replaced if it bears escnet's mark.
        is_own_folder: Whether it lies in a folder that escnet keeps for itself, where any is.

    Raises:
        OutputError: If it cannot be moved, or a file that escnet did not write would be replaced.
    """
    part, path = Path(part), Path(path)
    if not is_own_folder:
        check_replaceable([path])
    try:
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, ValueError) as error:
        raise OutputError(_cannot_write(path, error)) from error


def make_folder(folder: str | Path) -> Path:
    """Create a folder with its parents and make sure that files can be created in it.

    Raises:
        OutputError: If it cannot be created or written to.
    """
    folder = Path(folder)
    probe = folder / f".escnet.{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except (OSError, ValueError) as error:
        raise OutputError(_cannot_write(folder, error)) from error
    return folder


def is_of_one_name(error: OutputError) -> bool:
    """Whether only this file cannot be written; on a full disk no other can be written either."""
    cause = error.__cause__
    return not isinstance(cause, OSError) or cause.errno in _OF_ONE_NAME


def remove_leftovers(folder: str | Path, names: Collection[str]) -> None:
    """Delete the temporary files that a killed process left for files of these names."""
    shortened = {_shortened(name) for name in names}
    with suppress(OSError):  # leftovers are untidy, not wrong: no reason to stop a job
        for entry in Path(folder).iterdir():
            part = _PART.fullmatch(entry.name)
            if part is not None and part["name"] in shortened:
                entry.unlink()


def display_path(path: str | Path) -> str:
    """The path for a message: on one line, and printable on any terminal."""
    text = str(path)
    return text if text.isprintable() and text else ascii(text)


def _head(path: Path) -> bytes | None:
    """How a regular file begins; empty if there is none, None if it cannot be read."""
    if not os.path.isfile(path):  # noqa: PTH113 -- unlike Path.is_file it never raises
        return b""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return None


def _shortened(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST_STEM])


def _cannot_write(path: Path, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):  # such as a null character in the name
        return f"{path!s} cannot be written ({error}): choose another name"
    cure = {
        errno.ENOSPC: f"free some space or {ANOTHER_FOLDER}",
        errno.EDQUOT: f"free some space or {ANOTHER_FOLDER}",
        errno.ENAMETOOLONG: "shorten the name of the picture or of the folder",
        errno.ENOTDIR: f"a part of this path is a file: {ANOTHER_FOLDER}",
        errno.EEXIST: f"a file of this name is in the way: {ANOTHER_FOLDER}",
        errno.EISDIR: f"a folder of this name is in the way: move it, or {ANOTHER_FOLDER}",
    }.get(error.errno or 0, f"{ANOTHER_FOLDER}, one that you may write to")
    reason = (error.strerror or str(error)).lower()
    return f"{path} cannot be written ({reason}): {cure}"
