"""Pictures and label maps that clients send, read within the limits; runs in a worker process.

Sizes: H x W pixels.
"""

from io import BytesIO

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from escnet.annotations.label_dtype import label_dtype
from escnet.data.image import decoding, header_size, read_image
from escnet.errors import ImageError
from escnet.web.limits import Limits
from escnet.web.refusal import Refusal

_ANY = 2**62  # pixels; the limit is looked at here, in the service's words


def read_within(content: bytes, limits: Limits) -> UInt8[np.ndarray, "H W 3"]:
    """A picture, of which the header is looked at before anything is decoded.

    Raises:
        Refusal: If it has too many pixels.
        ImageError: If it cannot be read.
    """
    _check_header(content, limits, "picture")
    return read_image(content, max_pixels=limits.max_pixels)


def read_labels(
    content: bytes, num_names: int, limits: Limits
) -> UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]:
    """A label map in PNG: grey or indexed; or in colours, red + 256 x green, as browsers write it.

    Args:
        content: Of the file.
        num_names: Labels are below it, or void: 255 of up to 254 names, else 65535.
        limits: Of pixels.

    Raises:
        Refusal: If it has too many pixels.
        ImageError: If it cannot be read, or holds other labels.
    """
    _check_header(content, limits, "label map")
    with decoding("label map"), Image.open(BytesIO(content), formats=["PNG"]) as image:
        values = np.asarray(image)
    if values.ndim == 3 and values.dtype == np.uint8 and values.shape[2] >= 3:
        values = values[:, :, 0] + 256 * values[:, :, 1].astype(np.uint16)
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise ImageError("label map is no grey, indexed or RGB PNG: write it as one")
    dtype = label_dtype(num_names)
    void = np.iinfo(dtype).max
    is_void = values == void
    wrong = values[(values >= num_names) & ~is_void]
    if wrong.size:
        raise ImageError(
            f"label map holds label {wrong[0]}, but there are {num_names} names, 0 to "
            f"{num_names - 1}, and {void} for none: write it anew"
        )
    return values.astype(dtype)


def _check_header(content: bytes, limits: Limits, shown: str) -> None:
    if not content:
        raise ImageError(f"{shown} is empty (0 bytes): send the content of a file")
    width, height = header_size(BytesIO(content), shown=shown, max_pixels=_ANY)
    if width * height > limits.max_pixels:
        raise Refusal(
            413,
            f"{shown} of {width} x {height} has {width * height / 1e6:.1f} megapixels, above the "
            f"limit of {limits.max_pixels / 1e6:g}: make it smaller, or cut it",
        )
