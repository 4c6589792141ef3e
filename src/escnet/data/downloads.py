"""Downloaded data sets as they came: folders and archives, read in place.

A file is found by the end of its path, so that it does not matter how deep a folder was unpacked,
or whether it is still in its archive. Nothing is unpacked under a name that an archive gives.
"""

import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from escnet.errors import DatasetError
from escnet.files import display_path

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.gz.")  # the last as one of them is published
_GZIP = b"\x1f\x8b"
_CONVERTED = "_detectron2"  # in the names of folders that another program made of the downloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One downloaded file, in a folder or in an archive."""

    path: PurePosixPath
    shown: str
    read: Callable[[], bytes]


class Downloads:
    """All files in a folder, and in the archives that lie in it; used as a context.

    Raises:
        DatasetError: If there is no such folder, or an archive cannot be opened.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DatasetError(
                f"no folder {display_path(folder)}: give the one with the downloaded files"
            )
        self._open = ExitStack()
        self._by_parent: dict[str, list[Download]] = {}

    def __enter__(self) -> "Downloads":
        try:
            for download in self._all():
                if not download.path.name.startswith("."):  # such as macOS's ._NAME in archives
                    self._by_parent.setdefault(download.path.parent.name, []).append(download)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def in_folder(self, tail: str, suffix: str) -> dict[str, Download]:
        """The files by stem whose folder's path ends with `tail`, an unpacked one before others."""
        parts = PurePosixPath(tail).parts
        of_stem: dict[str, Download] = {}
        for download in self._by_parent.get(parts[-1], ()):
            above, end = _split(download.path.parent.parts, len(parts))
            is_there = end == parts and not any(_CONVERTED in part for part in above)
            if is_there and download.path.suffix.lower() == suffix:
                of_stem.setdefault(download.path.stem, download)
        return of_stem

    def below(self, tail: str) -> list[Download]:
        """The files whose path holds the folders of `tail` anywhere."""
        wanted = f"/{tail}/"
        return [
            download
            for group in self._by_parent.values()
            for download in group
            if wanted in f"/{download.path}"
        ]

    def file(self, tail: str) -> Download | None:
        """The first file whose path ends with `tail`."""
        parts = PurePosixPath(tail).parts
        for group in self._by_parent.values():
            for download in group:
                if download.path.parts[-len(parts) :] == parts:
                    return download
        return None

    def _all(self) -> Iterator[Download]:
        archives = []
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file():
                continue
            if path.name.lower().endswith((".zip", *_TAR_ENDINGS)):
                archives.append(path)
                continue
            inside = PurePosixPath(self.folder.name, *path.relative_to(self.folder).parts)
            yield Download(path=inside, shown=display_path(path), read=path.read_bytes)
        for path in archives:
            is_zip = path.name.lower().endswith(".zip")
            yield from self._in_zip(path) if is_zip else self._in_tar(path)

    def _in_zip(self, path: Path) -> Iterator[Download]:
        try:
            archive = self._open.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, OSError) as error:
            raise _unreadable(path, error) from None
        for name in archive.namelist():
            if not name.endswith("/"):
                yield Download(
                    path=PurePosixPath(name),
                    shown=f"{display_path(path)}:{name}",
                    read=partial(archive.read, name),
                )

    def _in_tar(self, path: Path) -> Iterator[Download]:
        try:
            archive = self._open.enter_context(tarfile.open(fileobj=self._tar_stream(path)))  # noqa: SIM115 -- closed by the stack
            members = [member for member in archive.getmembers() if member.isfile()]
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise _unreadable(path, error) from None
        for member in members:
            yield Download(
                path=PurePosixPath(member.name),
                shown=f"{display_path(path)}:{member.name}",
                read=partial(_of_tar, archive, member),
            )

    def _tar_stream(self, path: Path) -> IO[bytes]:
        """The archive, unpacked to a nameless file if need be: gzip cannot be read backwards."""
        packed = self._open.enter_context(path.open("rb"))
        is_packed = packed.read(len(_GZIP)) == _GZIP
        packed.seek(0)
        if not is_packed:
            return packed
        plain = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 -- likewise
        with gzip.open(packed) as unpacked:
            shutil.copyfileobj(unpacked, plain)
        plain.seek(0)
        return plain


def _split(parts: tuple[str, ...], length: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return parts[:-length], parts[-length:]


def _of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()


def _unreadable(path: Path, error: Exception) -> DatasetError:
    reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists all that it tried
    return DatasetError(f"archive {display_path(path)} cannot be read ({reason}): fetch it again")
