"""What a names file says of a label besides its queries; docs/reference/names-file.md has it all.

Sizes: K vectors, D the width of a model's joint space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Float, Float32

from escnet.errors import VocabularyError

MOST_VECTORS = 64  # of one label for one model
_LARGEST_WIDTH = 16_384
_LENGTH_ERROR = 0.01  # of a unit vector; half precision is off by a tenth of it
_DIGEST_DIGITS = 16
_HALF = np.dtype("<f2")

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtVectors:
    """What a label was taught for one model: unit vectors of its joint space.

    Attributes:
        weights_hash: SHA-256 of the weights, as results have it.
        model: The name that the model was loaded by, for messages.
        vectors: Each in half precision, little-endian; `of` makes them.
        replaces_text: Whether they are asked in place of the label's queries, or beside them.
        source: What they were taught from, such as the names of pictures.
    """

    weights_hash: str
    vectors: tuple[bytes, ...]
    model: str = ""
    replaces_text: bool = False
    source: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        vectors: Float[np.ndarray, "K D"],
        *,
        weights_hash: str,
        model: str,
        replaces_text: bool = False,
        source: Sequence[str] = (),
    ) -> "TaughtVectors":
        """Vectors of any length, to be kept.

        Raises:
            VocabularyError: If there is none, there are too many, or one has no direction.
        """
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        with np.errstate(all="ignore"):  # what comes of it is checked
            unit = (vectors / length).astype(_HALF)
        rows = tuple(row.tobytes() for row in unit)
        check_vectors(rows, "taught vectors")
        return cls(
            weights_hash=weights_hash,
            vectors=rows,
            model=model,
            replaces_text=replaces_text,
            source=tuple(source),
        )

    @property
    def digest(self) -> str:
        """What tells these vectors, and how they are asked, from others."""
        digest = sha256(b"".join(self.vectors)).hexdigest()[:_DIGEST_DIGITS]
        return f"{digest}{' instead of text' if self.replaces_text else ''}"

    @property
    def array(self) -> Float32[np.ndarray, "K D"]:
        """The vectors."""
        return np.stack([np.frombuffer(one, _HALF) for one in self.vectors]).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDetails:
    """What is said of one label besides its queries.

    Attributes:
        description: For people.
        color: Red, green and blue in 0..255; None for one that suits the name.
        group: The group that it belongs to, "" for none.
        contrast: Queries for what it is not: they take pixels and give none.
        void_below: Pixels that it wins with a lower confidence get no label.
        taught: What it was taught, for each model.
    """

    description: str = ""
    color: Color | None = None
    group: str = ""
    contrast: tuple[str, ...] = ()
    void_below: float = 0.0
    taught: tuple[TaughtVectors, ...] = ()

    def taught_for(self, weights_hash: str) -> TaughtVectors | None:
        """What was taught for these weights; None for nothing."""
        return next((one for one in self.taught if one.weights_hash == weights_hash), None)


PLAIN = LabelDetails()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Labels, or groups of them, that are one thing at a higher level.

    Attributes:
        name: What results call it.
        group: The group that it belongs to, "" for none.
        color: Red, green and blue in 0..255; None for one that suits the name.
        description: For people.
    """

    name: str
    group: str = ""
    color: Color | None = None
    description: str = ""


def check_vectors(vectors: Sequence[bytes], where: str) -> None:
    """Refuse what no joint space has.

    Args:
        vectors: Each in half precision.
        where: How an error calls them.

    Raises:
        VocabularyError: If there is none or too many, their widths differ, or one is no unit
            vector.
    """
    if not 1 <= len(vectors) <= MOST_VECTORS:
        raise VocabularyError(
            f"{where}: {len(vectors)} of them, but a label has 1 to {MOST_VECTORS}: teach it again"
        )
    width = len(vectors[0]) // _HALF.itemsize
    for position, vector in enumerate(vectors, 1):
        if len(vector) != width * _HALF.itemsize or not 1 <= width <= _LARGEST_WIDTH:
            raise VocabularyError(
                f"{where}: vector {position} has {len(vector)} bytes, which is not two for each of "
                f"{max(1, min(width, _LARGEST_WIDTH)):,} numbers: teach the label again"
            )
        length = float(np.linalg.norm(np.frombuffer(vector, _HALF).astype(np.float64)))
        if not abs(length - 1) <= _LENGTH_ERROR:  # NaN, too
            raise VocabularyError(
                f"{where}: vector {position} has the length {length:.3g}, not 1: "
                "teach the label again"
            )
