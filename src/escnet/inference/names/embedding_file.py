"""One file of kept text embeddings: safetensors, with what tells whether it is whole.

A file is taken only if its checksum fits and its values are sound, so that a damaged one costs time
and never changes a result.

Sizes: N texts, D the width of the joint space.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from escnet.files import TEXT_EMBEDDINGS_KEY

KEY_BYTES = 32  # of SHA-256

Rows = dict[bytes, Float32[np.ndarray, " D"]]


class DamagedError(Exception):
    """A file that is not as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a file says of itself.

    Attributes:
        model: The name that the model was loaded by when the file was written.
        weights_hash: SHA-256 of the model's weights.
        checksum: Of the rest of the file.
        num_texts: Of how many texts it holds the embeddings.
    """

    model: str
    weights_hash: str
    checksum: str
    num_texts: int


def file_content(rows: Mapping[bytes, np.ndarray], *, model: str, weights_hash: str) -> bytes:
    """The file of some embeddings.

    Args:
        rows: Each embedding by its key of 32 bytes.
        model: The name that the model was loaded by.
        weights_hash: SHA-256 of its weights.
    """
    key = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, KEY_BYTES)
    embedding = np.stack(list(rows.values())).astype(np.float32)
    about = {
        "model": model,
        "weights_hash": weights_hash,
        "checksum": _checksum(model, weights_hash, key, embedding),
    }
    metadata = {TEXT_EMBEDDINGS_KEY: json.dumps(about)}
    return save({"key": key, "embedding": embedding}, metadata)


def read_about(path: Path) -> About | None:
    """What a file says of itself, without a look at its embeddings; None if that is unreadable."""
    try:
        return _read(path, ())[0]
    except (DamagedError, OSError):
        return None


def read_rows(path: Path, wanted: Collection[bytes] | None = None) -> tuple[About, Rows]:
    """The embeddings in a file.

    Args:
        path: Of the file.
        wanted: The keys that are asked for; None for all.

    Raises:
        DamagedError: If the file is not as it was written.
        OSError: If it cannot be read, or is gone by now.
    """
    return _read(path, wanted)


def _read(path: Path, wanted: Collection[bytes] | None) -> tuple[About, Rows]:
    if not path.is_file():  # a pipe would be waited for
        raise OSError(f"{path} is no regular file")
    try:
        with safe_open(path, framework="np") as file:
            told = json.loads((file.metadata() or {})[TEXT_EMBEDDINGS_KEY])
            key = file.get_tensor("key")
            if key.dtype != np.uint8 or key.ndim != 2 or key.shape[1] != KEY_BYTES:
                raise DamagedError(path)
            about = About(**{name: str(value) for name, value in told.items()}, num_texts=len(key))
            place = {one.tobytes(): row for row, one in enumerate(key)}
            asked = [one for one in (place if wanted is None else wanted) if one in place]
            if not asked:
                return about, {}
            embedding = file.get_tensor("embedding")
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(path) from error
    if embedding.dtype != np.float32 or embedding.ndim != 2 or len(embedding) != len(key):
        raise DamagedError(path)
    if about.checksum != _checksum(about.model, about.weights_hash, key, embedding):
        raise DamagedError(path)
    if not np.isfinite(embedding).all():
        raise DamagedError(path)
    return about, {one: embedding[place[one]] for one in asked}


def _checksum(
    model: str,
    weights_hash: str,
    key: UInt8[np.ndarray, "N 32"],
    embedding: Float32[np.ndarray, "N D"],
) -> str:
    digest = hashlib.sha256(json.dumps([model, weights_hash, embedding.shape]).encode())
    digest.update(key.tobytes())
    digest.update(embedding.tobytes())
    return digest.hexdigest()
