"""The layout of Pascal VOC: JPEGImages, indexed SegmentationClass, ImageSets, and the class names.

There 0 is the background and 255 is void, so a name's value is its index plus one; a name
"background" has 0.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from escnet.annotations.format import (
    EncodedFile,
    FolderResults,
    Format,
    FormatOptions,
    PictureResult,
    Place,
    WholeFile,
    check_name_count,
    picture_of,
)
from escnet.annotations.json_text import to_utf8
from escnet.annotations.plain_image import encode_indexed_png, encode_photo

_BACKGROUND = "background"
_VOID, _VOID_COLOUR = 255, (224, 224, 192)


def _files(result: PictureResult, place: Place, options: FormatOptions) -> Iterator[EncodedFile]:
    photo = encode_photo(picture_of(result, "voc"))
    values = _values(result.names)
    table = np.append(values, _VOID).astype(np.uint8)
    indices = table[np.minimum(result.label_map, len(values))]
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[values] = options.colours(result.names)
    colours[0], colours[_VOID] = 0, _VOID_COLOUR
    yield EncodedFile(VOC.first_file(place), encode_indexed_png(indices, colours))
    yield EncodedFile(f"voc/JPEGImages/{place.below}{place.stem}.jpg", photo)


def _values(names: Sequence[str]) -> list[int]:
    """The value of each name: 1, 2, ..., without a gap where the background stands."""
    values, value = [], 0
    for name in names:
        value += name != _BACKGROUND
        values.append(0 if name == _BACKGROUND else value)
    return values


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    named = [name for name in finished.names if name != _BACKGROUND]
    classes = "".join(f"{name}\n" for name in (_BACKGROUND, *named))
    yield WholeFile("voc/class_names.txt", [to_utf8(classes)])
    listed = (to_utf8(f"{place.below}{place.stem}\n") for place in finished.places)
    yield WholeFile("voc/ImageSets/Segmentation/train.txt", listed)


VOC = Format(
    about="Pascal VOC's layout, background 0 and void 255: torchvision, Datumaro",
    path="voc/SegmentationClass/{below}{stem}.png",
    folder="voc",
    use="SegmentationClass holds indices of class_names.txt; ImageSets/Segmentation/train.txt "
    "lists the pictures.",
    encode=_files,
    whole=_whole,
    whole_paths=(
        "voc/class_names.txt",
        "voc/ImageSets/Segmentation/train.txt",
    ),
    needs_picture=True,
    check_names=lambda names: check_name_count(names, 254, "voc"),
)
