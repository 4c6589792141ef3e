"""The three best names of each pixel as NumPy arrays, for programs that weigh doubtful pixels.

Sizes: K names, H x W pixels.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt

from escnet.annotations.format import EncodedFile, Format, FormatOptions, PictureResult, Place
from escnet.errors import ConfigError, either

NUM_NAMES = 3


@runtime_checkable
class RankedResult(PictureResult, Protocol):
    """A result that may hold more than one name of a pixel."""

    @property
    def top_names(self) -> UInt[np.ndarray, "K H W"] | None:
        """Indices into `names`, the best first, or `void_label`."""

    @property
    def top_probabilities(self) -> Float[np.ndarray, "K H W"] | None:
        """Theirs."""


def _files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    if (
        not isinstance(result, RankedResult)
        or result.top_names is None
        or result.top_probabilities is None
    ):
        way = either(f"segment with top={NUM_NAMES}", "leave the format out")
        raise ConfigError(
            f"the result holds one name of each pixel, not the best {NUM_NAMES}: {way}"
        )
    content = BytesIO()
    np.savez_compressed(
        content,
        names=np.array(result.names),
        top=result.top_names[:NUM_NAMES],
        probabilities=result.top_probabilities[:NUM_NAMES],
    )
    yield EncodedFile(TOP_NAMES.first_file(place), content.getvalue())


TOP_NAMES = Format(
    about="the three best names of each pixel and their probabilities, NumPy arrays: Python",
    path="top3/{below}{stem}.npz",
    folder="top3",
    use="`numpy.load('STEM.npz')` holds `names` (text), `top` (3, height, width; indices of names, "
    "the label map's own first) and `probabilities` (the same shape). The label map also weighs "
    "the share prior, which is not in the probabilities, so the second may have a higher one.",
    encode=_files,
)
