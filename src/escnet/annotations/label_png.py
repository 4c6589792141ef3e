"""Label maps as PNG files: the pixel value is the class index, and the names travel along.

Up to 254 names the file is an indexed 8-bit PNG whose palette shows the classes in colour (void,
255, is black); above, it is a 16-bit grey PNG (void is 65535). The names are a JSON list in the
PNG's international text chunk `escnet:names`, where any PNG reader finds them.
"""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from escnet.annotations.files import write_file
from escnet.annotations.palette import VOID_COLOUR, class_colours
from escnet.errors import DatasetError

NAMES_KEY = "escnet:names"
MOST_NAMES_IN_8_BITS = 254


def encode_label_png(
    label_map: UInt[np.ndarray, "H W"], names: Sequence[str], *, void_label: int
) -> bytes:
    """The content of a label map's PNG file.

    Args:
        label_map: Indices into `names`, or `void_label`.
        names: Class names in index order.
        void_label: Value of the pixels without a class; 255 in an 8-bit file.
    """
    if len(names) <= MOST_NAMES_IN_8_BITS:
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[: len(names)] = class_colours(len(names))
        palette[void_label] = VOID_COLOUR
        image = Image.fromarray(label_map.astype(np.uint8))
        image.putpalette(palette.tobytes())
    else:
        image = Image.fromarray(label_map.astype(np.uint16))
    text = json.dumps(list(names), ensure_ascii=False)
    info = PngInfo()
    # names from undecodable bytes hold lone surrogates; escaped, they are valid JSON and UTF-8
    info.add_itxt(NAMES_KEY, text.encode("utf-8", "backslashreplace").decode("utf-8"))
    buffer = BytesIO()
    image.save(buffer, format="PNG", pnginfo=info, compress_level=6)
    return buffer.getvalue()


def write_label_png(
    path: str | Path, label_map: UInt[np.ndarray, "H W"], names: Sequence[str], *, void_label: int
) -> None:
    """Write a label map with its names, atomically.

    Args:
        path: The file to write or replace.
        label_map: Indices into `names`, or `void_label`.
        names: Class names in index order.
        void_label: Value of the pixels without a class; 255 in an 8-bit file.

    Raises:
        OutputError: If the file cannot be written.
    """
    write_file(path, encode_label_png(label_map, names, void_label=void_label))


def read_label_png(path: str | Path) -> tuple[UInt[np.ndarray, "H W"], tuple[str, ...]]:
    """Label map and class names of a file that `write_label_png` wrote.

    Raises:
        DatasetError: If the file is no PNG, is damaged, or carries no class names.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            label_map = np.asarray(image)
            text = image.info.get(NAMES_KEY)
    except FileNotFoundError as error:
        raise DatasetError(f"no such file {path}: give a label map in PNG") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as PNG ({error}): write it again") from error
    if text is None or label_map.ndim != 2 or label_map.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"{path} carries no class names: give a label map that escnet wrote")
    try:
        names = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{path} has damaged class names ({error}): write it again") from error
    return label_map, tuple(str(name) for name in names)
