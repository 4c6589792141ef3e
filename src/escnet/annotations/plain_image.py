"""Label maps as pictures that every program reads the same way: grey values, colours, masks.

An indexed PNG is read as indices by some programs (Pillow) and as colours by others (OpenCV). The
files made here hold nothing to mistake: STEM.grey.png has one grey channel whose values are the
indices; STEM.color.png has red, green, and blue, and STEM.color.json says whose they are; and
STEM.masks/ has a black and white picture for each name.
"""

import io
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, UInt, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from escnet.annotations.format import (
    EncodedFile,
    Format,
    FormatOptions,
    PictureResult,
    Place,
)
from escnet.annotations.json_text import to_marked_json
from escnet.annotations.palette import VOID_COLOUR
from escnet.annotations.shapes import name_masks
from escnet.errors import OutputError
from escnet.files import MARK

_LONGEST_SLUG = 60  # characters of a name in a file's name
_LONGEST_JPEG_SIDE = 65_000


def encode_png(pixels: np.ndarray) -> bytes:
    """The content of a PNG file: grey in 8 or 16 bits, black and white, or red, green, and blue."""
    return _saved(Image.fromarray(pixels))


def encode_indexed_png(
    indices: UInt8[np.ndarray, "H W"], colours: UInt8[np.ndarray, "256 3"]
) -> bytes:
    """The content of an indexed PNG file with its 256 colours."""
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    return _saved(image)


def encode_photo(picture: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The content of a JPEG file of a picture for a data set, upright and of high quality.

    Raises:
        OutputError: If the picture is larger than a JPEG file can be.
    """
    if max(picture.shape) > _LONGEST_JPEG_SIDE:
        raise OutputError(
            f"a picture of {picture.shape[1]} x {picture.shape[0]} pixels is too large for JPEG, "
            "in which data sets hold their pictures: choose the format labels, or cut it"
        )
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=95, subsampling=0, comment=MARK)
    return buffer.getvalue()


def _saved(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    mark = PngInfo()
    mark.add_text("Software", MARK)
    image.save(buffer, format="PNG", pnginfo=mark)
    return buffer.getvalue()


def painted(
    label_map: UInt[np.ndarray, "H W"], colours: UInt8[np.ndarray, "N 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Each pixel in its name's colour, black where there is no name."""
    table = np.concatenate([colours, np.array([VOID_COLOUR], dtype=np.uint8)])
    return table[np.minimum(label_map, len(colours))]  # (H, W, 3)


def slug(name: str) -> str:
    """The name as a part of a file's name: letters, digits, and single hyphens."""
    letters = "".join(letter if letter.isalnum() else " " for letter in name)
    return "-".join(letters.split())[:_LONGEST_SLUG].rstrip("-")


def _grey_files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    yield EncodedFile(GREY.first_file(place), encode_png(result.label_map))


def _color_files(
    result: PictureResult, place: Place, options: FormatOptions
) -> Iterator[EncodedFile]:
    path, colours = COLOR.first_file(place), options.colours(result.names)
    yield EncodedFile(path, encode_png(painted(result.label_map, colours)))
    rows = [
        {"index": index, "name": name, "rgb": colour}
        for index, (name, colour) in enumerate(zip(result.names, colours.tolist(), strict=True))
    ]
    void = {"index": result.void_label, "name": None, "rgb": list(VOID_COLOUR)}
    table = to_marked_json({"colors": [*rows, void]})
    yield EncodedFile(path.removesuffix(".png") + ".json", table)


def _mask_files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    folder = f"{place.stem}.masks"
    listed: list[dict[str, object]] = []
    files = []
    for label, mask, score in name_masks(result):
        path = f"{folder}/{label:03d}-{slug(result.names[label])}.png"
        listed.append(
            {"index": label, "name": result.names[label], "file": path, "mean_confidence": score}
        )
        files.append(EncodedFile(place.below + path, _mask_png(mask)))
    yield EncodedFile(MASKS.first_file(place), to_marked_json({"masks": listed}))
    yield from files


def _mask_png(mask: Bool[np.ndarray, "H W"]) -> bytes:
    return encode_png(mask.astype(np.uint8) * np.uint8(255))


GREY = Format(
    about="grey PNG whose values are indices of names: OpenCV, FiftyOne, MATLAB, QGIS",
    path="{below}{stem}.grey.png",
    encode=_grey_files,
)
COLOR = Format(
    about="RGB PNG, and a JSON table of its colours: image editors, MATLAB",
    path="{below}{stem}.color.png",
    encode=_color_files,
)
MASKS = Format(
    about="a black and white PNG for each name, and a list of them: image editors, scripts",
    path="{below}{stem}.masks.json",
    encode=_mask_files,
)
