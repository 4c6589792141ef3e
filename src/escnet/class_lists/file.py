"""The text of a file with class names, bounded, whatever the file is.

COCO's instance files may have hundreds of megabytes; of one beyond the limit only its list of
categories is read.
"""

import mmap
import re
from pathlib import Path

from escnet.errors import VocabularyError
from escnet.files import shown_path

MAX_FILE_BYTES = 16 * 2**20  # a file beyond this is no list of names, and must not fill the memory
_MAX_SEARCHED_BYTES = 2**31
_CATEGORIES = re.compile(rb'"categories"\s{0,9}:\s{0,9}\[')
_MAX_CATEGORIES_BYTES = 2**20


def read_text(path: Path) -> str:
    """The file's text; of a larger JSON file with COCO's categories, an object with these alone.

    Raises:
        VocabularyError: If the file is no regular one, too large, or not UTF-8.
    """
    shown = shown_path(path)
    try:
        if path.is_dir():
            raise VocabularyError(f"{shown} is a folder: name the file with the class names")
        if not path.is_file():
            raise VocabularyError(f"no file {shown}: check the path of the class names")
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            data = _categories_in(path, data)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise VocabularyError(f"{shown} cannot be read ({reason}): check the path") from None
    if len(data) > MAX_FILE_BYTES:
        raise VocabularyError(
            f"{shown} is larger than {MAX_FILE_BYTES // 2**20} MiB: is it a list of class names?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"{shown} is not UTF-8 text (byte 0x{data[error.start]:02x} at {error.start}): "
            "save it as UTF-8"
        ) from None


def _categories_in(path: Path, beginning: bytes) -> bytes:
    """The categories of a large COCO file as a small one; else the beginning, which is too long."""
    if not beginning.lstrip().startswith(b"{") or path.stat().st_size > _MAX_SEARCHED_BYTES:
        return beginning
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        found = [match.start() for match in _CATEGORIES.finditer(content)]
        if len(found) != 1:
            return beginning
        part = content[found[0] : found[0] + _MAX_CATEGORIES_BYTES]
    end = _end_of_list(part)
    return beginning if end is None else b"{" + part[:end] + b"}"


def _end_of_list(part: bytes) -> int | None:
    """Where the first list ends; the strings in it are passed over."""
    depth = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', part):
        if match.group() in {b"[", b"{"}:
            depth += 1
        elif match.group() in {b"]", b"}"}:
            depth -= 1
            if depth == 0:
                return match.end()
    return None
