"""Folders and files in buckets: whatever fsspec reads, such as s3://, gs:// and az:// addresses.

A bucket shows a new file whole or not at all, so an upload needs no second name.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from escnet.data.picture_formats import IMAGE_SUFFIXES
from escnet.data.picture_search import natural_key
from escnet.errors import ConfigError, EscnetError, ImageError, OutputError, first_line
from escnet.extras import module_of_extra
from escnet.files import (
    check_replaceable,
    display_path,
    is_marked,
    is_ours,
    make_folder,
    replace_file,
)

_ADDRESS = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+)://?(?=[^/])")
_EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az"}  # by protocol
_HEAD_BYTES = 4096  # where escnet's mark stands


def is_address(source: str | Path) -> bool:
    """Whether a source or folder is the address of one in a bucket."""
    return "://" in str(source) and _ADDRESS.match(str(source)) is not None


def is_in_bucket(address: str) -> bool:
    """Whether an address is of one of the kinds that have an extra; others may be of films."""
    return address.partition("://")[0] in _EXTRAS


def address_of(path: Path) -> str | None:
    """The address that a path was made of, which leaves one slash of two; None if it was none."""
    match = _ADDRESS.match(path.as_posix())
    if match is None or path.is_absolute():
        return None
    return f"{match['protocol']}://{path.as_posix()[match.end() :]}"


@contextmanager
def telling(address: str, error: type[EscnetError], what: str) -> Iterator[None]:
    """Turn what a file system raises into one line about the address.

    Raises:
        EscnetError: Of that kind, whatever went wrong.
    """
    try:
        yield
    except EscnetError:
        raise
    except Exception as reason:  # noqa: BLE001 -- each file system raises kinds of its own
        told = first_line(reason) if str(reason).strip() else type(reason).__name__
        raise error(
            f"{display_path(address)} cannot be {what} ({told}): check the address and your rights"
        ) from OSError(told)  # not the fault of one picture's name


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        ConfigError: If there is none of this kind, or its library is not installed.
    """
    url_to_fs = module_of_extra("fsspec.core", "ray").url_to_fs
    protocol = address.partition("://")[0]
    try:
        system, path = url_to_fs(address)
    except ImportError:
        library = _EXTRAS.get(protocol)
        cure = f"pip install 'escnet[{library}]'" if library else "install fsspec's library for it"
        raise ConfigError(f"{display_path(address)} needs a library of its own: {cure}") from None
    except ValueError:
        raise ConfigError(
            f"{display_path(address)} is no address of a known kind: give s3://, gs:// or az://"
        ) from None
    return system, str(path)


def find_in_bucket(source: str, *, recursive: bool) -> list[Path]:
    """The pictures that an address names, as paths that `address_of` turns back.

    Args:
        source: Of a file, a folder, or a pattern.
        recursive: Also take folders within folders.

    Raises:
        ImageError: If it names none, or cannot be looked into.
    """
    system, path = file_system(source)
    with telling(source, ImageError, "read"):
        if "*" in source:
            candidates = system.glob(path)
        elif system.isfile(path):
            return [Path(source)]
        else:
            candidates = system.find(path, maxdepth=None if recursive else 1)
    names = [PurePosixPath(name) for name in candidates]
    pictures = [
        Path(system.unstrip_protocol(str(name)))
        for name in names
        if name.suffix.lower() in IMAGE_SUFFIXES and not name.name.startswith(".")
    ]
    if not pictures:
        beside = f" among {len(names)} files" if names else ""
        cure = "check the address" if recursive else "check the address, or pass --recursive"
        raise ImageError(f"{display_path(source)} holds no picture{beside}: {cure}")
    return sorted(pictures, key=natural_key)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder for results: on this machine's disks, or in a bucket.

    Attributes:
        where: Its path or address.
    """

    where: str

    def child(self, name: str) -> str:
        """The path or address of a file in it."""
        return f"{self.where.rstrip('/')}/{name}"

    def names(self, suffix: str) -> list[str]:
        """The files with a suffix that lie in it.

        Raises:
            OutputError: If it cannot be looked into.
        """
        if not is_address(self.where):
            return sorted(path.name for path in Path(self.where).glob(f"*{suffix}"))
        system, path = file_system(self.where)
        with telling(self.where, OutputError, "read"):
            if not system.exists(path):
                return []
            listed: Sequence[str] = system.find(path, maxdepth=1)
        return sorted(name for one in listed if (name := PurePosixPath(one).name).endswith(suffix))

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none.

        Raises:
            OutputError: If it cannot be read.
        """
        child = self.child(name)
        try:
            if not is_address(child):
                return Path(child).read_bytes()
            system, path = file_system(child)
            with telling(child, OutputError, "read"):
                return bytes(system.cat_file(path)) if system.exists(path) else None
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, *, is_own: bool = False) -> str:
        """Write a file, which is there whole or not at all; its path or address.

        Args:
            name: Of the file, with slashes for folders below this one.
            content: What it holds.
            is_own: The file of this name is known to be escnet's.

        Raises:
            OutputError: If it cannot be written, or would replace a file that escnet did not write.
        """
        child = self.child(name)
        if not is_address(child):
            make_folder(Path(child).parent)
            if not is_own:
                check_replaceable([child])
            replace_file(child, content)
            return child
        system, path = file_system(child)
        with telling(child, OutputError, "written"):
            if not is_own:
                _check_replaceable(system, path, child)
            system.pipe_file(path, content)
        return child

    def delete(self, name: str) -> None:
        """Delete a file if there is one and escnet wrote it.

        Raises:
            OutputError: If it cannot be deleted.
        """
        child = self.child(name)
        if not is_address(child):
            if is_ours(child):
                with telling(child, OutputError, "deleted"):
                    Path(child).unlink(missing_ok=True)
            return
        system, path = file_system(child)
        with telling(child, OutputError, "deleted"):
            if system.exists(path) and is_marked(system.cat_file(path, start=0, end=_HEAD_BYTES)):
                system.rm_file(path)


def _check_replaceable(system: Any, path: str, address: str) -> None:
    try:
        head = system.cat_file(path, start=0, end=_HEAD_BYTES)
    except FileNotFoundError:
        return
    if head and not is_marked(head):
        raise OutputError(
            f"{display_path(address)} is no result of escnet and would be replaced: choose another "
            "folder with --out"
        )
