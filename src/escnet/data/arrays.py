"""Arrays and tensors at the door: pixels of any type as an array of theirs, channels last.

* uint8 stays as it is. Other whole numbers and floats become bytes by the rule of `value_range.py`,
  as they do in a file: 0 to 1, 0 to 255, 12 bits in 16, a reflectance.
* Negative values and NaN are refused, which a file may hold: an array with them is most often one
  that was standardised for another network.
* Without a word of the caller the channels of a NumPy array come last and those of a PyTorch tensor
  first, as each library's pictures have them; grey pictures may have no axis for them.

Sizes: H x W pixels, C channels: 1 (grey), 3 (red, green, blue), or 4 (with alpha).
"""

import sys
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np
from jaxtyping import Shaped

from escnet.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

    Channels = Literal["first", "last"]
else:
    Channels = object  # whatever is given: what is no place is told so by code

_COUNTS = (1, 3, 4)


def is_tensor(value: object) -> "TypeGuard[Tensor]":
    """Whether a value is a PyTorch tensor; if PyTorch was never imported, nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_one_picture(value: object) -> bool:
    """Whether an array or a tensor is one picture, not several; in whichever order of its axes."""
    if not is_tensor(value) and not isinstance(value, np.ndarray):
        return False
    shape = tuple(value.shape)
    return _is_picture(shape, is_first=False) or _is_picture(shape, is_first=True)


def _check_channels(channels: object) -> None:
    """Refuse what is no place of an axis.

    Raises:
        ImageError: If it is none.
    """
    if channels is not None and channels not in {"first", "last"}:
        raise ImageError(f"channels {channels!r} are nowhere: give 'first', 'last' or nothing")


def pixel_values(
    values: "Shaped[np.ndarray, '...'] | Tensor", channels: Channels | None = None
) -> Shaped[np.ndarray, "H W *C"]:
    """The picture's values, channels last; an array of that order is not copied.

    Args:
        values: The picture.
        channels: Where their axis is; None for the library's own order.

    Raises:
        ImageError: If this is no picture: of another shape or type, or with values of none.
    """
    _check_channels(channels)
    array, noun = _as_array(values)
    is_first = channels == "first" or (channels is None and is_tensor(values))
    if not _is_picture(array.shape, is_first=is_first):
        raise _wrong_shape(array, noun, channels, is_first=is_first)
    if array.ndim == 3 and is_first:
        array = np.moveaxis(array, 0, -1)  # (H, W, C)
    if array.shape[2:] == (1,):
        array = array[:, :, 0]
    _check_values(array, noun)
    return array


def _as_array(values: "np.ndarray | Tensor") -> tuple[np.ndarray, str]:
    """The values in main memory, and what errors call them."""
    if not is_tensor(values):
        return np.asarray(values), "picture array"
    held = values.detach().cpu()
    if held.is_floating_point():
        held = held.float()  # NumPy has no bfloat16
    return held.numpy(), "picture tensor"


def _is_picture(shape: tuple[int, ...], *, is_first: bool) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[0 if is_first else 2] in _COUNTS)


def _wrong_shape(
    array: np.ndarray, noun: str, channels: Channels | None, *, is_first: bool
) -> ImageError:
    asked = "(C, H, W)" if is_first else "(H, W, C)"
    if channels is None and _is_picture(array.shape, is_first=not is_first):
        other = "last" if is_first else "first"
        cure = f"its channels seem to come {other}, so pass channels={other!r}"
    elif array.ndim == 4:
        cure = "it seems to hold several pictures, so give one, or each to segment_batch"
    else:
        cure = f"give (H, W), or {asked} with 1, 3 or 4 channels"
    return ImageError(f"{noun} has dtype {array.dtype} and shape {array.shape}: {cure}")


def _check_values(array: Shaped[np.ndarray, "H W *C"], noun: str) -> None:
    if not np.issubdtype(array.dtype, np.integer) and not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"{noun} has dtype {array.dtype} and shape {array.shape}: "
            "give uint8 (0 to 255), uint16 (0 to 65535), or floats from 0 to 1"
        )
    if array.dtype == np.uint8 or not array.size:
        return
    if not array.min() >= 0:  # nor where a NaN is
        raise ImageError(
            f"{noun} of {array.dtype} holds values from {array.min():g} to {array.max():g}: give "
            "floats from 0 to 1 or whole numbers as uint8, before any mean is taken off"
        )
