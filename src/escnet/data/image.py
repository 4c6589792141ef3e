"""Pictures at the door: any readable file, Pillow image or array becomes uint8 RGB, as displayed.

The formats are those of `picture_formats.py`; of several pages or frames one is read, the first if
nothing else is said. The size in the header is checked before anything is decoded, and the EXIF
orientation is applied. What becomes of each kind:

* 8-bit RGB stays as it is, 8-bit grey gets three equal channels, 1-bit becomes black and white.
* Whatever has an alpha channel, a transparent palette entry or a transparent colour is laid on
  white.
* Values of more than 8 bits, whole numbers and fractions, become bytes by the one rule of
  `value_range.py`; the range that was taken is told.
* Of several bands the first three are red, green and blue.
* CMYK and YCbCr are converted by their plain formulas. ICC profiles are ignored throughout.

Sizes: H x W pixels.
"""

import re
import stat
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO, IOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from escnet.data.arrays import Channels, is_tensor, pixel_values
from escnet.data.deep_colour import check_upper_bytes, deep_colours, is_deep
from escnet.data.limits import MAX_PIXELS
from escnet.data.picture_formats import (
    BEGINNING_BYTES,
    PICTURE_FORMATS,
    PLUGIN_FORMATS,
    format_of,
    load_plugin,
)
from escnet.data.value_range import ValueRange, check_depth, range_of, to_bytes
from escnet.errors import ImageError, setting
from escnet.files import display_path

if TYPE_CHECKING:
    from torch import Tensor

    Picture: TypeAlias = str | Path | bytes | BinaryIO | Image.Image | np.ndarray | Tensor
    Pictures: TypeAlias = Iterable[Picture]
else:  # whatever is given: what is no picture is told so by code, and not by its annotation
    Picture = Pictures = object

Stream: TypeAlias = BufferedReader | BytesIO

_ORIENTATION = 0x0112  # EXIF and TIFF tag

# Pillow's decoders let out whatever their parsing trips over; no narrower net holds, as random
# damage to files of every format shows. It is only ever put around calls into Pillow.
_DECODER_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)


class ReadPicture(NamedTuple):
    """A picture, and what was done to read it.

    Attributes:
        pixels: As displayed.
        orientation: The EXIF orientation that was applied, 1 (none) to 8.
        value_range: What became 0 and 255; None where the file has bytes.
        page: Which of its pages or frames it is, from 1.
        num_pages: How many there are.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    orientation: int
    value_range: ValueRange | None
    page: int
    num_pages: int

    def as_settings(self) -> dict[str, object]:
        """What was done to read it, as plain values for JSON."""
        value_range = None if self.value_range is None else list(self.value_range)
        return {
            "orientation": self.orientation,
            "value_range": value_range,
            "page": self.page,
            "pages": self.num_pages,
        }


def read_image(
    source: Picture,
    *,
    max_pixels: int = MAX_PIXELS,
    channels: Channels | None = None,
    depth: int | None = None,
    page: int = 1,
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture as it is displayed, by the rules of this module.

    Args:
        source: The path of a file; its content as bytes or as an open binary file; a Pillow image
            (turned by its EXIF orientation too); or an array or tensor, by the rules of
            `escnet.data.arrays`. A uint8 RGB array is not copied.
        max_pixels: The largest H x W that is read.
        channels: Where an array or tensor has its channels; by default "last" in an array and
            "first" in a tensor.
        depth: Bits that are used of a value of more than 8; see `value_range.py`.
        page: Of a file with several pages or frames, from 1.

    Raises:
        ImageError: If there is no such picture, it cannot be decoded, or it is too large.
    """
    return read_any(source, max_pixels=max_pixels, channels=channels, depth=depth, page=page).pixels


def read_any(
    source: Picture,
    *,
    max_pixels: int = MAX_PIXELS,
    channels: Channels | None = None,
    depth: int | None = None,
    page: int = 1,
) -> ReadPicture:
    """As `read_image`, with what was done to read it.

    Raises:
        ImageError: As `read_image`.
    """
    if isinstance(source, np.ndarray) or is_tensor(source):
        return _of_array(source, channels, max_pixels, depth)
    if isinstance(source, Image.Image):
        with _without_warnings():
            return _decoded(source, "picture", max_pixels, depth)
    if isinstance(source, str | Path):
        return read_picture(source, max_pixels=max_pixels, depth=depth, page=page)
    content = _content_of(source)
    if not content:
        raise ImageError("picture is empty (0 bytes): give the content of a file")
    stream = BytesIO(content)
    return decode_picture(stream, max_pixels=max_pixels, depth=depth, page=page)


def _content_of(source: object) -> bytes:
    """The bytes of a picture that is no path and no array."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, IOBase) or hasattr(source, "read"):
        try:
            content = source.read()
        except (OSError, ValueError) as error:
            raise ImageError(f"picture cannot be read ({error}): open its file again") from None
        if isinstance(content, bytes):
            return content
        raise ImageError("picture is an open text file: open it in binary mode, 'rb'")
    raise ImageError(
        f"picture is of type {type(source).__name__}: give a path, bytes, an open binary file, a "
        "Pillow image, a NumPy array or a PyTorch tensor"
    )


def read_picture(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, depth: int | None = None, page: int = 1
) -> ReadPicture:
    """As `read_image`, of a file, with what was done to read it.

    Raises:
        ImageError: As `read_image`.
    """
    shown = f"picture {display_path(path)}"
    with open_regular_file(Path(path), shown) as stream:
        return decode_picture(stream, shown=shown, max_pixels=max_pixels, depth=depth, page=page)


def decode_picture(
    stream: Stream,
    *,
    shown: str = "picture",
    max_pixels: int = MAX_PIXELS,
    depth: int | None = None,
    page: int = 1,
) -> ReadPicture:
    """As `read_picture`, of an open file or bytes in memory.

    Args:
        stream: At the beginning of the picture; left open.
        shown: What errors call the picture.
        max_pixels: As in `read_image`, like the rest.
        depth: Bits that are used.
        page: From 1.

    Raises:
        ImageError: As `read_image`.
    """
    check_depth(depth)
    with _opened(stream, shown, max_pixels, PICTURE_FORMATS) as image:
        num_pages = _num_pages(image, shown)
        if not 1 <= page <= num_pages:
            raise ImageError(f"{shown} has no page {page}: give one of 1 to {num_pages}")
        if page > 1:
            with decoding(shown):
                image.seek(page - 1)
        return _decoded(image, shown, max_pixels, depth)


def num_pages_of(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> int:
    """How many pages a TIFF has, or frames a GIF, WebP or PNG; 1 for all others.

    Raises:
        ImageError: If there is no such picture, its header is damaged, or it is too large.
    """
    with open_image(path, max_pixels=max_pixels) as image:
        return _num_pages(image, f"picture {display_path(path)}")


def image_size_hw(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of the picture as `read_image` would return it.

    They are read off the header; only a PNG that has no orientation there is decoded, because it
    may come after the pixels.

    Raises:
        ImageError: If there is no such picture, its header is damaged, or it is too large.
    """
    with open_image(path, max_pixels=max_pixels) as image:
        width, height = image.size
        # Pillow gives a TIFF's size as displayed, all others' as stored.
        is_turned = image.format != "TIFF" and _orientation(image) >= 5
        return (width, height) if is_turned else (height, width)


def orientation_of(path: str | Path) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1 where it has none.

    Raises:
        ImageError: If there is no such picture, or its header is damaged.
    """
    with open_image(path) as image:
        return _orientation(image)


@contextmanager
def open_image(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = PICTURE_FORMATS,
    noun: str = "picture",
) -> Iterator[Image.Image]:
    """Give the file as a Pillow image of checked size, of which only the header is decoded.

    Args:
        path: A regular file, of any name.
        max_pixels: The largest H x W that is opened.
        formats: Pillow's names of the formats to try.
        noun: What errors call the file.

    Raises:
        ImageError: If the file cannot be read, is none of these formats, or is too large.
    """
    shown = f"{noun} {display_path(path)}"
    with (
        open_regular_file(Path(path), shown) as stream,
        _opened(stream, shown, max_pixels, formats) as image,
    ):
        yield image


def header_size(stream: Stream, *, shown: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height in a picture's header, as stored; the stream's place is lost.

    Raises:
        ImageError: If the header cannot be read, or the picture is too large.
    """
    with _opened(stream, shown, max_pixels, PICTURE_FORMATS) as image:
        return image.size


@contextmanager
def _opened(
    stream: Stream, shown: str, max_pixels: int, formats: tuple[str, ...]
) -> Iterator[Image.Image]:
    with _without_warnings():
        with decoding(shown), _largest_for_pillow(max_pixels):
            image = _identified(stream, shown, max_pixels, formats)
        with image:
            _check_size(image.height, image.width, shown, max_pixels)
            yield image


@contextmanager
def decoding(shown: str) -> Iterator[None]:
    """Turn whatever Pillow raises inside, where it decodes the picture `shown`, into an ImageError.

    Raises:
        ImageError: If anything went wrong inside.
    """
    try:
        yield
    except MemoryError:
        raise _no_memory(shown) from None
    except _DECODER_ERRORS as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "its header cannot be read"
        raise ImageError(
            f"{shown} is cut off, damaged or of a rare kind ({reason}): fetch or export it again"
        ) from None


def _of_array(
    source: "np.ndarray | Tensor", channels: Channels | None, max_pixels: int, depth: int | None
) -> ReadPicture:
    check_depth(depth)
    values = pixel_values(source, channels)
    height, width = values.shape[:2]
    _check_size(height, width, "picture array", max_pixels)
    value_range = None
    if values.dtype != np.uint8:
        value_range = range_of(values if values.ndim == 2 else values[:, :, :3], depth)
        pixels = _of_values(values, value_range)
    elif values.shape[2:] == (3,):
        pixels = np.ascontiguousarray(values)
    else:
        pixels = _rgb(Image.fromarray(np.ascontiguousarray(values)))
    return ReadPicture(pixels, orientation=1, value_range=value_range, page=1, num_pages=1)


def _num_pages(image: Image.Image, shown: str) -> int:
    if image.format == "MPO":  # a photograph with its preview, or from two eyes
        return 1
    with decoding(shown):
        return int(getattr(image, "n_frames", 1))


def _decoded(
    image: Image.Image, shown: str, max_pixels: int, depth: int | None = None
) -> ReadPicture:
    _check_size(image.height, image.width, shown, max_pixels)
    page, num_pages = image.tell() + 1, _num_pages(image, shown)
    stored = _orientation(image) if image.format == "TIFF" else 1  # load() applies it, and drops it
    values = None
    with decoding(shown):
        if deep := is_deep(image):
            values = deep_colours(image)
        image.load()
        if values is None and image.mode.startswith("I;16"):
            values = np.asarray(image).astype(np.uint16)
        elif values is None and image.mode in {"I", "F"}:
            values = np.asarray(image)
        # Only now: a PNG's orientation may follow its pixels.
        orientation = _orientation(image)
        if values is None:
            rgb, value_range = _rgb(image), None
        else:
            value_range = range_of(values if values.ndim == 2 else values[:, :, :3], depth)
            rgb = _of_values(values, value_range)
            if deep:  # as they are in the file, not as load() left them
                orientation = max(orientation, stored)
    if deep and values is None:
        check_upper_bytes(rgb, shown)
    return ReadPicture(
        pixels=np.ascontiguousarray(_turned(rgb, orientation)),
        orientation=max(orientation, stored),
        value_range=value_range,
        page=page,
        num_pages=num_pages,
    )


def _of_values(
    values: Shaped[np.ndarray, "H W *C"], value_range: ValueRange
) -> UInt8[np.ndarray, "H W 3"]:
    if values.ndim == 2:
        return _of_grey(to_bytes(values, value_range))
    rgb = to_bytes(values[:, :, :3], value_range)
    if values.shape[2] < 4:
        return rgb
    is_whole = np.issubdtype(values.dtype, np.integer)
    most = np.iinfo(values.dtype).max if values.dtype.itemsize <= 2 and is_whole else None
    opacity = values[:, :, 3:4] / np.float64(most or value_range.high)
    opacity = opacity.clip(0, 1)
    return np.rint(255 + (rgb - 255.0) * opacity).astype(np.uint8)  # on white


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode != "RGB":  # or it would be copied once more
        image = image.convert("RGB")
    return np.array(image)


def _of_grey(grey: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.repeat(grey[:, :, None], 3, axis=2)  # (H, W, 3)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where it is missing or unreadable."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1  # a picture with damaged metadata is still a picture
    return orientation if orientation in range(1, 9) else 1


def _turned(rgb: UInt8[np.ndarray, "H0 W0 3"], orientation: int) -> UInt8[np.ndarray, "H W 3"]:
    """The picture as displayed, from the picture as stored."""
    if orientation >= 5:
        rgb = rgb.swapaxes(0, 1)  # (W0, H0, 3)
    if orientation in {3, 4, 7, 8}:
        rgb = rgb[::-1]
    if orientation in {2, 3, 6, 7}:
        rgb = rgb[:, ::-1]
    return rgb


def _identified(
    stream: Stream, shown: str, max_pixels: int, formats: tuple[str, ...]
) -> Image.Image:
    beginning = stream.read(BEGINNING_BYTES)
    stream.seek(0)
    kind = format_of(beginning)
    if kind in formats:
        load_plugin(kind, shown)
    try:
        # Pillow knows a plug-in's format only when it is loaded.
        known = [name for name in formats if name == kind or name not in PLUGIN_FORMATS]
        return Image.open(stream, formats=known)
    except Image.DecompressionBombError as error:
        number = re.search(r"\d+", str(error))
        raise _too_large(shown, int(number[0]) if number else None, max_pixels) from None
    except UnidentifiedImageError:
        if kind in formats:
            raise  # one of ours, and damaged; or close to one, and of a rare kind
        raise ImageError(
            f"{shown} is of another format than those read ({', '.join(formats)}): convert it"
        ) from None


@contextmanager
def open_regular_file(path: Path, shown: str) -> Iterator[BufferedReader]:
    """The file open for reading, if it is a regular one with something in it.

    Raises:
        ImageError: If it is not.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{shown} is a folder: name the files in it")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ImageError(f"{shown} is not a regular file: save its content to one")
        if status.st_size == 0:
            raise ImageError(f"{shown} is empty (0 bytes): fetch or export it again")
        stream = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{shown} does not exist: check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(
            f"{shown} cannot be read ({reason}): check the path and its permissions"
        ) from None
    with stream:
        yield stream


def _check_size(height: int, width: int, shown: str, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"{shown} is {width} x {height} pixels: it needs at least one")
    if height * width > max_pixels:
        raise _too_large(shown, height * width, max_pixels)


def _too_large(shown: str, num_pixels: int | None, max_pixels: int) -> ImageError:
    size = "too many" if num_pixels is None else _megapixels(num_pixels)
    return ImageError(
        f"{shown} has {size} megapixels, above the limit of {_megapixels(max_pixels)}: "
        f"pass {setting('max_pixels')} or tile it"
    )


def _megapixels(num_pixels: int) -> str:
    return f"{num_pixels / 1e6:,.6f}".rstrip("0").rstrip(".")


def _no_memory(shown: str) -> ImageError:
    return ImageError(f"{shown} does not fit into memory: tile it")


_pillow_lock = threading.Lock()


@contextmanager
def _largest_for_pillow(max_pixels: int) -> Iterator[None]:
    """Let Pillow open pictures of `max_pixels`, and stop those of more than twice as many.

    Its limit is one for the whole process. It is only ever raised, so that other threads never
    meet a tighter one, and only while a header is read.
    """
    with _pillow_lock:
        before = Image.MAX_IMAGE_PIXELS
        if before is not None:
            Image.MAX_IMAGE_PIXELS = max(before, max_pixels)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


class _without_warnings:  # noqa: N801 -- used as a function
    """Silence Pillow's warnings, about damaged metadata for example, while a picture is read.

    Python's filters are one list for the whole process, and restoring it out of order would leave
    Pillow silent for ever: so of several threads the first to enter changes it and the last to
    leave restores it.
    """

    _lock = threading.Lock()
    _num_inside = 0
    _caught: "warnings.catch_warnings[None] | None" = None

    def __enter__(self) -> None:
        cls = type(self)
        with cls._lock:
            if cls._num_inside == 0:
                cls._caught = warnings.catch_warnings()
                cls._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            cls._num_inside += 1

    def __exit__(self, *_: object) -> None:
        cls = type(self)
        with cls._lock:
            cls._num_inside -= 1
            if cls._num_inside == 0 and cls._caught is not None:
                cls._caught.__exit__(None, None, None)
                cls._caught = None
