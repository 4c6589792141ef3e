"""The score map of every name as NumPy arrays, for programs that weigh names themselves.

Sizes: N names without the background, h x w the grid that the model answers on.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16

from escnet.annotations.format import EncodedFile, Format, FormatOptions, PictureResult, Place
from escnet.errors import ConfigError, either


@runtime_checkable
class ScoredResult(PictureResult, Protocol):
    """A result that may hold the score maps of its names."""

    @property
    def scores(self) -> Float16[np.ndarray, "N h w"] | None:
        """Confidence of each name at each place, from 0 to 1."""


def _files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    if not isinstance(result, ScoredResult) or result.scores is None:
        way = either("segment with scores=True", "leave the format out")
        raise ConfigError(f"the result holds labels without the names' score maps: {way}")
    content = BytesIO()
    np.savez_compressed(
        content,
        names=np.array(result.names[: len(result.scores)]),
        scores=result.scores,
        size=np.array(result.label_map.shape),
    )
    yield EncodedFile(SCORE_MAPS.first_file(place), content.getvalue())


SCORE_MAPS = Format(
    about="the score map of every name, NumPy arrays of half precision: Python",
    path="scores/{below}{stem}.npz",
    folder="scores",
    use="`numpy.load('STEM.npz')` holds `names` (text), `scores` (names, rows, columns; "
    "confidences on the grid that the model answers on, which covers the whole picture) and `size` "
    "(height and width of the picture). The background has no map. The label map also weighs the "
    "share prior, which is not in the scores, so the name with the highest score may be another.",
    encode=_files,
)
