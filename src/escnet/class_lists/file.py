"""The text of a file with class names.

COCO's instance files may have hundreds of megabytes; of one beyond the limit only its list of
categories is read.
"""

import codecs
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
_START_BYTES = 64
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# How files of other kinds begin. Pictures: JPEG, PNG, GIF, BMP, TIFF twice; WebP; AVIF and HEIC.
_OTHER_KINDS = {
    re.compile(
        rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|.{4}ftyp", re.DOTALL
    ): "a picture, not a list of class names: give a list",
    re.compile(rb"PK[\3\5]|\x1f\x8b|7z\xbc|Rar!"): (
        "an archive or a spreadsheet: unpack it, or save the table as CSV"
    ),
    re.compile(rb"%PDF|\xd0\xcf\x11\xe0|\{\\rtf"): "a document: save its names as plain text",
    re.compile(rb"\s*<(?:!doctype )?html", re.IGNORECASE): (
        "a web page: download the file itself, not the page that shows it"
    ),
    re.compile(rb"version https://git-lfs"): (
        "a pointer of Git LFS, not the file: fetch it by `git lfs pull`"
    ),
    re.compile(rb"404: Not Found"): "what a server answers for a missing file: check its address",
    re.compile(rb".?\0", re.DOTALL): "no UTF-8 text (it begins with null bytes): save it as UTF-8",
}
_CATEGORIES = re.compile(rb'"categories"\s{0,9}:\s{0,9}\[')
_MAX_CATEGORIES_BYTES = 2**20


def read_text(path: Path) -> str:
    """The file's text; of a larger JSON file with COCO's categories, an object with these alone.

    UTF-16 and UTF-32, as spreadsheets save "Unicode text", are known by their byte order marks.

    Raises:
        VocabularyError: If the file is no regular one, of another kind, too large, or not UTF-8.
    """
    start = _start_of(path)
    for mark, encoding in _ENCODINGS.items():
        if start.startswith(mark):
            return _decoded(LIST_FILE.bytes_of(path), encoding, display_path(path))
    for pattern, what in _OTHER_KINDS.items():
        if pattern.match(start):
            raise VocabularyError(f"{display_path(path)} is {what}")
    return _categories_in(path) or LIST_FILE.text_of(path)


def _decoded(content: bytes, encoding: str, shown: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise VocabularyError(f"{shown} is no {encoding} text: save it as UTF-8") from None


def _start_of(path: Path) -> bytes:
    with regular_file(
        path, display_path(path), VocabularyError, if_missing=LIST_FILE.if_missing
    ) as stream:
        return stream.read(_START_BYTES)


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
