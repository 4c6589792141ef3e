"""The text of a file with class names.

COCO's instance files may have hundreds of megabytes; of one beyond the limit only its list of
categories is read.
"""

import mmap
import re
from pathlib import Path

from escnet.errors import VocabularyError
from escnet.files import display_path
from escnet.small_file import SmallFile, regular_file

MAX_FILE_BYTES = 16 * 2**20  # a file beyond this is no list of names, and must not fill the memory

LIST_FILE = SmallFile(
    noun="",
    error=VocabularyError,
    cure="give a list of class names",
    if_missing="check the path of the class names",
    most_bytes=MAX_FILE_BYTES,
)
_MAX_SEARCHED_BYTES = 2**31
# How pictures begin: JPEG, PNG, GIF, BMP, TIFF twice; WebP; AVIF and HEIC.
_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|.{4}ftyp", re.DOTALL
)
_CATEGORIES = re.compile(rb'"categories"\s{0,9}:\s{0,9}\[')
_MAX_CATEGORIES_BYTES = 2**20


def read_text(path: Path) -> str:
    """The file's text; of a larger JSON file with COCO's categories, an object with these alone.

    Raises:
        VocabularyError: If the file is no regular one, a picture, too large, or not UTF-8.
    """
    _refuse_picture(path)
    return _categories_in(path) or LIST_FILE.text_of(path)


def _refuse_picture(path: Path) -> None:
    with regular_file(
        path, display_path(path), VocabularyError, if_missing=LIST_FILE.if_missing
    ) as stream:
        if _PICTURE.match(stream.read(16)):
            raise VocabularyError(
                f"{display_path(path)} is a picture, not a list of class names: give a list"
            )


def _categories_in(path: Path) -> str | None:
    """COCO's categories out of a large file, as the text of a small one."""
    with regular_file(
        path, display_path(path), VocabularyError, if_missing=LIST_FILE.if_missing
    ) as stream:
        if not MAX_FILE_BYTES < path.stat().st_size < _MAX_SEARCHED_BYTES:
            return None
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            starts = [match.start() for match in _CATEGORIES.finditer(content)]
            if content[:1] != b"{" or len(starts) != 1:
                return None
            part = content[starts[0] : starts[0] + _MAX_CATEGORIES_BYTES]
    end = _end_of_list(part)
    return None if end is None else f"{{{part[:end].decode(errors='replace')}}}"


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
