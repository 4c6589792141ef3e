"""Label maps from PNG files: the pixel values themselves, whatever palette displays them.

Indexed PNGs (1 to 8 bits) and grey ones of 8 or 16 bits are read. Grey of fewer bits is not:
decoders stretch its values to 0..255, which would change the labels. An EXIF orientation is not
applied: a label map lies on its picture as displayed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from escnet.data.image import MAX_PIXELS, decoding, open_image
from escnet.errors import DatasetError, ImageError
from escnet.files import shown_path

_GREY, _INDEXED = 0, 3  # PNG's colour types
_COLOUR_TYPES = {_GREY: "grey", 2: "RGB", _INDEXED: "indexed", 4: "grey with alpha", 6: "RGBA"}
_HEADER_BYTES = 26  # signature and the IHDR chunk as far as bit depth and colour type


def read_label_map(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Integer[np.ndarray, "H W"]:
    """The labels of a PNG, uint8 or, for 16-bit grey, uint16.

    Args:
        path: An indexed or grey PNG.
        max_pixels: The largest H x W that is read.

    Raises:
        DatasetError: If the file cannot be read, is no PNG, or holds colours instead of labels.
    """
    shown = f"label map {shown_path(path)}"
    try:
        with open_image(path, max_pixels=max_pixels, formats=("PNG",), noun="label map") as image:
            _refuse_colours(Path(path), shown)
            with decoding(shown):
                image.load()
                return np.array(image)
    except ImageError as error:
        raise DatasetError(str(error)) from None


def _refuse_colours(path: Path, shown: str) -> None:
    with path.open("rb") as stream:
        bit_depth, colour_type = stream.read(_HEADER_BYTES)[-2:]
    if colour_type != _INDEXED and not (colour_type == _GREY and bit_depth >= 8):
        raise DatasetError(
            f"{shown} is a PNG of {bit_depth}-bit {_COLOUR_TYPES.get(colour_type, 'unknown')}: "
            "save it as indexed, or as grey with 8 or 16 bits"
        )


def check_same_size(shown: str, labels_hw: Sequence[int], picture_hw: Sequence[int]) -> None:
    """Refuse a label map that does not have its picture's size.

    Args:
        shown: What the label map is called in the message.
        labels_hw: Its height and width.
        picture_hw: The picture's.

    Raises:
        DatasetError: If they differ.
    """
    if tuple(labels_hw) != tuple(picture_hw):
        raise DatasetError(
            f"{shown} is {labels_hw[1]} x {labels_hw[0]}, but its picture is "
            f"{picture_hw[1]} x {picture_hw[0]}: they must agree"
        )
