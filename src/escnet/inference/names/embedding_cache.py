"""Text embeddings kept on disk, so that a vocabulary is paid once.

A file holds what one call had to encode, and is never changed; its name comes from the weights and
the texts. So processes need no locks: at worst two encode the same names and write the same file.
Small files are joined when there are many. What was not used for longest goes first.

Sizes: N texts, D the width of the joint space.
"""

import hashlib
import os
import re
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

import escnet
from escnet.cache_folder import FOLDER_VARIABLE, SIZE_VARIABLE, cache_folder, most_text_bytes
from escnet.errors import CacheWarning, ConfigError, OutputError
from escnet.files import claim_folder, display_path, is_ours, write_file
from escnet.inference.methods.method import Encode
from escnet.inference.names.embedding_file import (
    DamagedError,
    Rows,
    file_content,
    read_about,
    read_rows,
)

_SUBFOLDER = "text-embeddings"
_ABOUT = (
    "Embeddings of class names that escnet has computed, so that they need not be computed again.\n"
    "`escnet cache show` lists them, `escnet cache clear` deletes them; both lose time and nothing "
    "else."
)
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}\.safetensors")
_LEFTOVER = re.compile(r"\.[0-9a-f]{16}-[0-9a-f]{32}\.safetensors\.[0-9a-f]{8}\.part")
_OLD_SECONDS = 3_600.0  # a file that is being written is younger
_MOST_SMALL_FILES = 64
_SMALL_BYTES = 2**20


class ModelEntry(NamedTuple):
    """What is kept of one model.

    Attributes:
        model: The name that it was loaded by.
        weights_hash: SHA-256 of its weights.
        num_texts: How many texts' embeddings.
        num_bytes: Their size on disk.
    """

    model: str
    weights_hash: str
    num_texts: int
    num_bytes: int


class EmbeddingCache:
    """Text embeddings in a folder.

    A folder that cannot be written to is one warning and never an error.

    Args:
        folder: Created when there is something to keep.
        most_bytes: Of all its files together.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._may_write = True

    @classmethod
    def of_environment(cls) -> "EmbeddingCache | None":
        """The cache in the user's cache folder; None if it is switched off or there is no home.

        Raises:
            ConfigError: If the environment asks for a size that is none.
        """
        if most_text_bytes() == 0:
            return None
        try:
            return cls.of_user()
        except ConfigError:
            return None

    @classmethod
    def of_user(cls) -> "EmbeddingCache":
        """The cache in the user's cache folder, whether or not it is switched off.

        Raises:
            ConfigError: If there is no home folder, or the environment's size is none.
        """
        return cls(cache_folder() / _SUBFOLDER, most_text_bytes())

    def embeddings(
        self,
        texts: Sequence[str],
        text_keys: Sequence[bytes],
        encode: Encode,
        *,
        model: str,
        weights_hash: str,
    ) -> Float32[np.ndarray, "N D"]:
        """The embedding of every text; those that are not kept are encoded, and kept from then on.

        Args:
            texts: That the template has been applied to.
            text_keys: What each embedding depends on besides the weights and this version.
            encode: The text tower.
            model: The name that the model was loaded by.
            weights_hash: SHA-256 of its weights.
        """
        keys = [_key(weights_hash, text_key) for text_key in text_keys]
        rows = self._rows(set(keys), weights_hash)
        text_of = dict(zip(keys, texts, strict=True))
        missing = [key for key in text_of if key not in rows]
        if missing:
            encoded = encode([text_of[key] for key in missing])
            if any(row.shape != encoded.shape[1:] for row in rows.values()):  # another model's
                return encode(texts)
            new = dict(zip(missing, encoded, strict=True))
            self._keep(new, model, weights_hash)
            rows |= new
        return np.stack([rows[key] for key in keys])

    def entries(self) -> list[ModelEntry]:
        """What is kept of each model, the largest first."""
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for path in self._files():
            about = read_about(path)
            if about is not None:
                texts, size = sums.get((about.model, about.weights_hash), (0, 0))
                both = texts + about.num_texts, size + _status(path)[1]
                sums[about.model, about.weights_hash] = both
        entries = [ModelEntry(*which, *both) for which, both in sums.items()]
        return sorted(entries, key=lambda entry: -entry.num_bytes)

    def clear(self) -> tuple[int, int]:
        """Delete what is kept, and no file that is not escnet's own.

        Returns:
            How many files, and their bytes.

        Raises:
            OutputError: If a file cannot be deleted.
        """
        removed = [path for path in self._files() if is_ours(path)]
        size = sum(_status(path)[1] for path in removed)
        try:
            for path in [*removed, *self._leftovers(0.0)]:
                path.unlink(missing_ok=True)
            if is_ours(self.folder / "README.md") and len(list(self.folder.iterdir())) == 1:
                (self.folder / "README.md").unlink()
                self.folder.rmdir()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(
                f"{display_path(self.folder)} cannot be cleared ({reason}): check its permissions"
            ) from error
        return len(removed), size

    def _rows(self, wanted: Collection[bytes], weights_hash: str) -> Rows:
        """The embeddings that are kept of these keys."""
        rows: Rows = {}
        for path in self._files(weights_hash):
            left = [key for key in wanted if key not in rows]
            if not left:
                break
            more = _sound_rows(path, left)
            if more:
                with suppress(OSError):  # of a folder that is only read
                    os.utime(path)
                rows |= more
        return rows

    def _keep(self, rows: Mapping[bytes, np.ndarray], model: str, weights_hash: str) -> None:
        if not self._may_write or not all(np.isfinite(row).all() for row in rows.values()):
            return
        content = file_content(rows, model=model, weights_hash=weights_hash)
        if len(content) > self.most_bytes:
            return
        try:
            claim_folder(self.folder, _ABOUT)
            write_file(self.folder / _file_name(rows, weights_hash), content)
            self._join_small_files(model, weights_hash)
            self._shrink()
        except OutputError as error:
            self._may_write = False
            warnings.warn(_not_kept_message(self.folder, error), CacheWarning, stacklevel=2)

    def _join_small_files(self, model: str, weights_hash: str) -> None:
        small = [path for path in self._files(weights_hash) if _status(path)[1] < _SMALL_BYTES]
        if len(small) <= _MOST_SMALL_FILES:
            return
        rows: Rows = {}
        joined = []
        for path in small:
            more = _sound_rows(path)
            if more and all(row.shape == next(iter(more.values())).shape for row in rows.values()):
                rows |= more
                joined.append(path)
        whole = self.folder / _file_name(rows, weights_hash)
        write_file(whole, file_content(rows, model=model, weights_hash=weights_hash))
        for path in joined:
            if path != whole:
                _remove(path)

    def _shrink(self) -> None:
        """Delete what was not used for longest, until the rest is within the bound."""
        for path in self._leftovers(_OLD_SECONDS):
            _remove(path)
        total = 0
        for path in self._files():
            total += _status(path)[1]
            if total > self.most_bytes and is_ours(path):
                _remove(path)

    def _files(self, weights_hash: str = "") -> list[Path]:
        """The files of one model, or of all, the last used first."""
        beginning = weights_hash[:16]
        paths = [path for path in self._paths(_NAME) if path.name.startswith(beginning)]
        return sorted(paths, key=_status, reverse=True)

    def _leftovers(self, age: float) -> list[Path]:
        """What processes that were killed while writing left here, older than an age in seconds."""
        latest = time.time() - age
        return [path for path in self._paths(_LEFTOVER) if _status(path)[0] <= latest]

    def _paths(self, name: re.Pattern[str]) -> Iterator[Path]:
        with suppress(OSError):  # not there, or not to be read
            for path in self.folder.iterdir():
                if name.fullmatch(path.name):
                    yield path


def _key(weights_hash: str, text_key: bytes) -> bytes:
    """What an embedding is found by; another version may compute it in another way."""
    return hashlib.sha256(f"{escnet.__version__} {weights_hash} ".encode() + text_key).digest()


def _file_name(rows: Mapping[bytes, np.ndarray], weights_hash: str) -> str:
    digest = hashlib.sha256(b"".join(sorted(rows)))
    return f"{weights_hash[:16]}-{digest.hexdigest()[:32]}.safetensors"


def _sound_rows(path: Path, wanted: Collection[bytes] | None = None) -> Rows:
    """The embeddings in a file; none of one that is damaged, which is deleted if it is ours."""
    try:
        return read_rows(path, wanted)[1]
    except DamagedError:
        if is_ours(path):
            _remove(path)
    except OSError:  # another process has deleted it, or it is not to be read
        pass
    return {}


def _status(path: Path) -> tuple[float, int]:
    """When a file was last used, and its size; zeros if it has gone."""
    try:
        status = path.stat()
    except OSError:
        return 0.0, 0
    return status.st_mtime, status.st_size


def _remove(path: Path) -> None:
    with suppress(OSError):  # another process was faster, or the folder is only read
        path.unlink()


def _not_kept_message(folder: Path, error: OutputError) -> str:
    """One line that is the same for every file."""
    cause = error.__cause__
    reason = "it holds files that escnet did not write"
    if isinstance(cause, OSError):
        reason = (cause.strerror or str(cause)).lower()
    return (
        f"text embeddings are not kept in {display_path(folder)} ({reason}), and are computed at "
        f"every start: set {FOLDER_VARIABLE} to another folder, or {SIZE_VARIABLE} to 0"
    )
