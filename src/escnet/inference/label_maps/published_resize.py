"""Pictures resized in the steps of CAT-Seg's evaluation, which ESC-Net follows.

First as detectron2 does it, smoothly, to a short side; then as torch does it, bilinearly from the
four nearest pixels, to a square. Published numbers were taken so.

Between the two CAT-Seg keeps the fractions that the first torch step gives, and so do we: rounded
to bytes they would change some labels.

Sizes: H x W the picture, h x w what comes out.
"""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from escnet.inference.label_maps.enlargement import enlarged

# What a method sees: a picture's own bytes, or values from 0 to 255 with fractions, once resized.
View = UInt8[np.ndarray, "_ _ 3"] | Float32[np.ndarray, "_ _ 3"]

_SHORT_SIDE = 640  # a larger view is shrunk to that first, smoothly
_LONGEST = 4  # the long side's limit, in short sides: 2560 for 640


def to_short_side(
    pixels: UInt8[np.ndarray, "H W 3"], short_side: int, *, may_grow: bool
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of the same aspect and that short side, or of a long side four times that.

    Args:
        pixels: The picture.
        short_side: In pixels.
        may_grow: Whether a smaller picture is enlarged, or stays as it is.
    """
    height, width = pixels.shape[:2]
    scale = min(short_side / min(height, width), _LONGEST * short_side / max(height, width))
    if scale == 1 or (scale > 1 and not may_grow):
        return pixels
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def squeezed(pixels: View, *sides: int) -> Float32[np.ndarray, "3 side side"]:
    """A picture squeezed to squares of these sides, one after the other; values from 0 to 255."""
    channels = [np.ascontiguousarray(channel, np.float32) for channel in pixels.transpose(2, 0, 1)]
    for side in sides:
        channels = [enlarged(channel, (side, side)) for channel in channels]
    return np.stack(channels)


def square(pixels: UInt8[np.ndarray, "H W 3"], side: int) -> Float32[np.ndarray, "side side 3"]:
    """`squeezed`, as a view of a method."""
    return squeezed(pixels, side).transpose(1, 2, 0)


def square_image(view: View, side: int) -> Float32[np.ndarray, "3 side side"]:
    """The whole view as a network's square input, in [0, 1].

    Bytes are resized smoothly. Fractions come from the published evaluation, and so are resized as
    it goes on, which is also how the paper's training resizes its crops.
    """
    if view.dtype != np.uint8:
        return squeezed(view, side) / 255
    small = Image.fromarray(view).resize((side, side), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(small, np.float32).transpose(2, 0, 1)) / 255


def published_image(
    view: View, view_size: int, image_size: int
) -> Float32[np.ndarray, "3 side side"]:
    """A view as a network's square input, in [0, 1], resized in the steps of CAT-Seg's evaluation.

    A view of bytes that is larger than that evaluation reads is shrunk smoothly; then it is
    squeezed to the square of a view and that to the tower's, both bilinearly from the four nearest
    pixels. Between the last two CAT-Seg normalises the pixels, which is the same, as the weights of
    four pixels sum to 1.
    """
    shrunk = view
    if view.dtype == np.uint8:
        shrunk = to_short_side(view, _SHORT_SIDE, may_grow=False)
    return squeezed(shrunk, view_size, image_size) / 255


def as_bytes(view: View) -> UInt8[np.ndarray, "_ _ 3"]:
    """A view in whole numbers, for what reads pictures and no fractions."""
    return view if view.dtype == np.uint8 else np.rint(view).clip(0, 255).astype(np.uint8)
