"""Label maps as PNG files: the pixel value is the class index, and the names travel along.

Up to 254 names the file is an indexed 8-bit PNG whose palette shows the classes in colour (void,
255, is black); above, it is a 16-bit grey PNG (void is 65535). The names are a JSON list in the
PNG's international text chunk `escnet:names`, where any PNG reader finds them.

A file is made in strips of rows, so that a label map of 100 megapixels is never copied as a whole.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image, UnidentifiedImageError

from escnet.annotations.json_text import to_utf8
from escnet.annotations.label_dtype import MOST_NAMES_IN_8_BITS
from escnet.annotations.palette import VOID_COLOUR, name_colours
from escnet.errors import DatasetError
from escnet.files import write_file

NAMES_KEY = "escnet:names"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _INDEXED = 0, 3  # PNG's colour types
_LESS_ABOVE = 2  # PNG's filter "up"
_PLAIN_TEXT = bytes(5)  # after a text's key: not compressed, of no language
_COMPRESSION = 6
_STRIP_PIXELS = 1 << 20


def encode_label_png(
    label_map: UInt[np.ndarray, "H W"],
    names: Sequence[str],
    *,
    void_label: int,
    colours: UInt8[np.ndarray, "N 3"] | None = None,
) -> bytes:
    """The content of a label map's PNG file.

    Args:
        label_map: Indices into `names`, or `void_label`.
        names: Class names in index order.
        void_label: Value of the pixels without a class; 255 in an 8-bit file.
        colours: Those of the names, for up to 254; the ones that suit them if None.
    """
    return b"".join(label_png_strips(label_map, names, void_label=void_label, colours=colours))


def label_png_strips(
    label_map: UInt[np.ndarray, "H W"],
    names: Sequence[str],
    *,
    void_label: int,
    colours: UInt8[np.ndarray, "N 3"] | None = None,
) -> Iterator[bytes]:
    """The content of a label map's PNG file, piece by piece; arguments as in `encode_label_png`."""
    height, width = label_map.shape
    has_palette = len(names) <= MOST_NAMES_IN_8_BITS
    kind = np.dtype("u1" if has_palette else ">u2")
    colour_type = _INDEXED if has_palette else _GREY
    header = struct.pack(">IIBBBBB", width, height, 8 * kind.itemsize, colour_type, 0, 0, 0)
    yield _SIGNATURE + _chunk(b"IHDR", header)
    if has_palette:
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[: len(names)] = name_colours(names) if colours is None else colours
        palette[void_label] = VOID_COLOUR
        yield _chunk(b"PLTE", palette.tobytes())
    # names from undecodable bytes hold lone surrogates; escaped, they are valid JSON and UTF-8
    text = to_utf8(json.dumps(list(names), ensure_ascii=False))
    yield _chunk(b"iTXt", NAMES_KEY.encode("ascii") + _PLAIN_TEXT + text)
    packer = zlib.compressobj(_COMPRESSION)
    step = max(1, _STRIP_PIXELS // max(width, 1))
    above = np.zeros((1, width), kind)
    for top in range(0, height, step):
        rows = label_map[top : top + step].astype(kind)
        if packed := packer.compress(_filtered(above, rows)):
            yield _chunk(b"IDAT", packed)
        above = rows[-1:]
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _filtered(above: UInt[np.ndarray, "1 W"], rows: UInt[np.ndarray, "rows W"]) -> bytes:
    """Rows of a PNG, each byte less the one above it: of a label map these are mostly zeros."""
    values = np.concatenate([above.view(np.uint8), rows.view(np.uint8)])  # (1 + rows, bytes)
    content = np.full((len(rows), 1 + values.shape[1]), _LESS_ABOVE, np.uint8)
    np.subtract(values[1:], values[:-1], out=content[:, 1:])
    return content.tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


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
    write_file(path, label_png_strips(label_map, names, void_label=void_label))


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
