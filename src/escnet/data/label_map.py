"""Label maps from picture files: the stored values themselves, whatever palette displays them.

PNG (indexed, or grey of 1, 2, 4, 8 or 16 bits), TIFF and BMP are read, and JPEG too, whose values
are no longer those that were saved. Decoders stretch grey of fewer than 8 bits to 0..255; this is
undone, so that black and white of 1 bit are labels 0 and 1. RGB is a label map where its three
channels are equal, and where a table says which colour is which label. An EXIF orientation is not
applied: a label map lies on its picture as displayed.

Sizes: H x W pixels, K colours.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from escnet.data.image import decoding, open_image
from escnet.data.limits import MAX_PIXELS
from escnet.errors import DatasetError, ImageError
from escnet.files import display_path

Colour = tuple[int, int, int]

LABEL_FORMATS = ("PNG", "TIFF", "BMP", "JPEG")
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
OUTLINE_INDEX = 255  # what VOC's indexed label maps have around objects, in no list of colours

_HEADER_BYTES = 26  # a PNG's signature and IHDR chunk as far as bit depth and colour type
_GREY = 0  # PNG's colour type
_MOST_SHOWN = 3  # colours


def read_label_map(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Integer[np.ndarray, "H W"]:
    """The labels of a file, uint8 or, of 16 bits, uint16.

    Args:
        path: The file.
        max_pixels: The largest H x W that is read.

    Raises:
        DatasetError: If the file cannot be read, or holds colours instead of labels.
    """
    return _labels_of(_samples_of(path, max_pixels), _title(path))


def read_coloured_map(
    path: str | Path, labels: Mapping[Colour, int], *, table_shown: str
) -> Integer[np.ndarray, "H W"]:
    """The labels of a file whose colours stand for them, uint16.

    An indexed file is taken by its palette's colours; only index 255 is kept as label 255, which
    is how VOC marks outlines. A grey one holds labels.

    Args:
        path: The file.
        labels: For each colour (red, green, blue) its label.
        table_shown: What messages call the list of colours.

    Raises:
        DatasetError: If the file cannot be read, or holds a colour that is not listed.
    """
    image, shown = _samples_of(path, MAX_PIXELS), _title(path)
    if image.mode not in {"RGB", "RGBA", "P"}:
        return _labels_of(image, shown)
    indices = np.asarray(image) if image.mode == "P" else None
    packed = _packed(np.asarray(image.convert("RGB")))  # (H, W)
    keys = np.array(sorted(_number(colour) for colour in labels), np.int64)  # (K,)
    values = np.array([labels[_colour(int(key))] for key in keys], np.uint16)  # (K,)
    place = np.searchsorted(keys, packed).clip(max=len(keys) - 1)  # (H, W)
    is_listed = keys[place] == packed
    label_map = np.where(is_listed, values[place], np.uint16(OUTLINE_INDEX))
    if indices is not None:
        is_listed |= indices == OUTLINE_INDEX
    if not is_listed.all():
        strange = [_colour(int(key)) for key in np.unique(packed[~is_listed])]
        share = 100 * (1 - is_listed.mean())
        raise DatasetError(
            f"{shown} holds {_counted_colours(strange)} that {table_shown} lacks, in {share:.3g} % "
            "of its pixels: add them there, or save it without smoothing or compression"
        )
    return label_map


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


def _title(path: str | Path) -> str:
    return f"label map {display_path(path)}"


def _samples_of(path: str | Path, max_pixels: int) -> Image.Image:
    """The decoded file, its values as stored.

    Raises:
        DatasetError: If it cannot be read.
    """
    shown = _title(path)
    try:
        with open_image(
            path, max_pixels=max_pixels, formats=LABEL_FORMATS, noun="label map"
        ) as image:
            bits = _bits_of_png(Path(path)) if image.format == "PNG" else 8
            with decoding(shown):
                image.load()
                copy = image.copy()
    except ImageError as error:
        raise DatasetError(str(error)) from None
    if bits == 16 and copy.mode in {"RGB", "RGBA", "LA"}:
        raise DatasetError(f"{shown} is a PNG of 16-bit colours: save it as grey of 16 bits")
    if copy.mode == "1":
        return Image.fromarray(np.asarray(copy).astype(np.uint8))
    if copy.mode == "L" and bits < 8:
        return Image.fromarray(np.asarray(copy) // (255 // (2**bits - 1)))
    return copy


def _bits_of_png(path: Path) -> int:
    """Bits of a grey sample; 8 of an indexed file, whose indices are not stretched."""
    with path.open("rb") as stream:
        depth, colour_type = stream.read(_HEADER_BYTES)[-2:]
    return depth if colour_type == _GREY or depth == 16 else 8


def _labels_of(image: Image.Image, shown: str) -> Integer[np.ndarray, "H W"]:
    values = np.array(image)
    if image.mode in {"LA", "RGBA"} and (values[..., -1] < 255).any():
        raise DatasetError(f"{shown} is transparent in places: give those a label, or a colour")
    if values.ndim == 3:
        grey = values[..., :1]
        colours = values[..., : 3 if image.mode in {"RGB", "RGBA"} else 1]
        if image.mode in {"CMYK", "YCbCr"} or (colours != grey).any():
            used = [_colour(int(key)) for key in np.unique(_packed(values[..., :3]))]
            raise DatasetError(
                f"{shown} holds {_counted_colours(used)}, not labels: list the class of each in a "
                "labelmap.txt beside it (lines such as cat:48,112,32::), or save it as grey"
            )
        values = grey[..., 0]
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise DatasetError(f"{shown} holds other numbers than labels 0..65535: save it as grey")
    return values if values.dtype == np.uint8 else values.astype(np.uint16)


def _packed(rgb: UInt8[np.ndarray, "H W 3"]) -> Integer[np.ndarray, "H W"]:
    return rgb.astype(np.int64) @ np.array([65_536, 256, 1])


def _number(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _colour(number: int) -> Colour:
    return number >> 16, number >> 8 & 255, number & 255


def _counted_colours(colours: Sequence[Colour]) -> str:
    first = [",".join(map(str, colour)) for colour in colours[:_MOST_SHOWN]]
    first += ["..."] if len(colours) > _MOST_SHOWN else []
    return f"{len(colours)} colour{'s' if len(colours) > 1 else ''} ({', '.join(first)})"
