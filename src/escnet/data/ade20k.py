"""ADE20K: 150 classes of the scene parsing challenge, and 847 of the full data set.

The challenge's label maps hold the class index plus one, 0 where nothing counts. In the full set
a colour stands for an object name: floor(R / 10) * 256 + G is its place in the index's list of
names, counted from one. The 847 are the names that MaskFormer chose, by how often they occur.

Sizes: H x W pixels.
"""

import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8, UInt16
from PIL import Image

from escnet.data.layout import Layout, Split, class_names
from escnet.errors import DatasetError

_IGNORE_847 = 65_535
_LONGEST_SHORT_SIDE = 512  # of the full set's pictures, some of which are very large

_150 = "ADEChallengeData2016"
_847 = "ADE20K_2021_17_01"

ADE_150 = Split(
    name="a-150",
    classes=class_names("ade150"),
    ignore_label=255,
    layouts=(
        Layout(
            pictures=f"{_150}/images/validation",
            labels=f"{_150}/annotations/validation",
            codes={0: 255} | {raw: raw - 1 for raw in range(1, 151)},
        ),
        Layout(
            pictures=f"{_150}/images/validation",
            labels=f"{_150}/annotations_detectron2/validation",
        ),
    ),
    counts=(2_000,),
)
ADE_847 = Split(
    name="a-847",
    classes=class_names("ade847"),
    ignore_label=_IGNORE_847,
    layouts=(
        Layout(
            pictures=f"{_847}/images_detectron2/validation",
            labels=f"{_847}/annotations_detectron2/validation",
            label_suffix=".tif",
        ),
    ),
    counts=(2_000,),
)

_HARMLESS = {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (
        ("multiarray", "_reconstruct"),
        ("multiarray", "scalar"),
        ("numeric", "_frombuffer"),
    )
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _IndexReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


# where the 2021 index has some of its names: another edition's order would give other classes
_KNOWN_PLACES = {"wall": 2978, "building, edifice": 312, "sky": 2420, "tree": 2855, "bed": 165}


def read_object_names(content: bytes, shown: str) -> list[str]:
    """The full set's object names in the order of its index (index_ade20k.pkl).

    Args:
        content: The file; what would run on loading it is refused.
        shown: What errors call the file.

    Raises:
        DatasetError: If it cannot be read, or holds no list of names.
    """
    try:
        index = _IndexReader(io.BytesIO(content)).load()
        names = list(index["objectnames"])
    except (
        pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError,
        AttributeError, ImportError, IndexError,
    ) as error:  # fmt: skip
        raise DatasetError(
            f"index {shown} cannot be read ({str(error) or 'cut off'}): fetch it again"
        ) from None
    return [str(name) for name in names]


def codes_of_full(object_names: Sequence[str], shown: str) -> dict[int, int]:
    """From an object's place in the index, counted from one, to its class index in A-847.

    Raises:
        DatasetError: If one of the 847 names is not in the index, or it is another edition's.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(object_names, start=1):
        places.setdefault(name.strip(), place)
    missing = [name for name in ADE_847.classes if name not in places]
    if missing:
        raise DatasetError(
            f"index {shown} lacks {len(missing)} of the 847 names (first: {missing[0]!r}): "
            "fetch that of ADE20K_2021_17_01"
        )
    for name, place in _KNOWN_PLACES.items():
        if places[name] != place:
            raise DatasetError(
                f"index {shown} has {name!r} in place {places[name]}, not {place}: "
                "fetch that of ADE20K_2021_17_01"
            )
    return {places[name]: label for label, name in enumerate(ADE_847.classes)}


def labels_of_full(
    colours: UInt8[np.ndarray, "H W 3"], codes: Mapping[int, int]
) -> UInt16[np.ndarray, "H W"]:
    """Class indices of one of the full set's *_seg.png files; 65535 for all other objects."""
    places = colours[..., 0].astype(np.int64) // 10 * 256 + colours[..., 1]  # (H, W)
    table = np.full(26 * 256, _IGNORE_847, dtype=np.uint16)
    table[list(codes)] = list(codes.values())
    return table[places]


def size_of_full(height: int, width: int) -> tuple[int, int]:
    """The size (height, width) to which a picture of the full set is reduced."""
    short = min(height, width)
    if short <= _LONGEST_SHORT_SIDE:
        return height, width
    # the same products and quotients as in the published preparation, for equal rounding
    if width >= height:
        return _LONGEST_SHORT_SIDE, round(width / height * _LONGEST_SHORT_SIDE)
    return round(height / width * _LONGEST_SHORT_SIDE), _LONGEST_SHORT_SIDE


def reduced_picture(rgb: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H1 W1 3"]:
    """The picture with a short side of at most 512.

    Each new pixel is interpolated between the four around its centre, without smoothing before, as
    in the published preparation; Pillow's `resize` would average over all that it covers.
    """
    height, width = size_of_full(*rgb.shape[:2])
    whole = (0, 0, rgb.shape[1], rgb.shape[0])
    image = Image.fromarray(rgb).transform(
        (width, height), Image.Transform.EXTENT, whole, resample=Image.Resampling.BILINEAR
    )
    return np.array(image)


def reduced_labels(labels: Integer[np.ndarray, "H W"]) -> Integer[np.ndarray, "H1 W1"]:
    """The label map with a short side of at most 512: of each new pixel its upper left corner."""
    height, width = size_of_full(*labels.shape)
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    return labels[rows[:, None], columns]
