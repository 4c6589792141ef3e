"""napari: results as layers, and the plugin that napari finds by itself where escnet is installed.

for layer in to_layers(Segmenter.load().segment("photo.jpg", ["cup", "table"])):
    viewer.add_layer(napari.layers.Layer.create(*layer))

In napari 0 is no label, so a value is the index of a name plus one. Nothing here imports napari:
layers are its plain tuples of data, settings and kind.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image

from escnet.annotations.label_png import read_label_png
from escnet.annotations.palette import name_colours
from escnet.annotations.summary import mean_confidences
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation

if TYPE_CHECKING:
    import napari.types

Layer = tuple[Any, dict[str, Any], str]  # napari's LayerDataTuple

_SUFFIX = ".labels.png"


def to_layers(result: Segmentation) -> list[Layer]:
    """The layers of a result: its picture, if it holds that, and its labels in their colours.

    The status line of napari tells the name and the mean confidence of what the mouse is on.

    Args:
        result: One picture's result.
    """
    colours = name_colours(result.names, result.own_colours)
    data, settings, kind = _labels(result.label_map, result.names, colours, result.stem)
    means = mean_confidences(result.label_map, result.confidence, len(result.names))
    settings["features"]["confidence"] = [np.nan, *means.round(3).tolist()]
    settings["metadata"] = {"model": result.model, "settings": dict(result.settings)}
    layers: list[Layer] = [(data, settings, kind)]
    if result.picture is not None:
        layers.insert(0, (result.picture, {"name": result.stem, "rgb": True}, "image"))
    return layers


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[Layer]] | None:
    """What reads STEM.labels.png into a layer; None for other files.

    Args:
        path: Of a file, or of several.
    """
    paths = [path] if isinstance(path, str) else path
    return _read if all(one.endswith(_SUFFIX) for one in paths) else None


def segment(
    picture: "napari.types.ImageData", names: str = "", background: bool = False
) -> "list[napari.types.LayerDataTuple]":
    """Labels of a picture by the built-in model: napari's form asks for the names.

    Args:
        picture: One picture, in colours or grey.
        names: Class names, such as "road, vehicle=car|truck".
        background: Add a class for what no name fits.

    Raises:
        EscnetError: If the names or the picture cannot be used.
    """
    return to_layers(_built_in().segment(np.asarray(picture), names, background=background))[1:]


def _read(path: str | list[str]) -> list[Layer]:
    layers = []
    for one in [path] if isinstance(path, str) else path:
        label_map, names = read_label_png(one)
        with Image.open(one) as image:
            palette = image.getpalette()
        colours = name_colours(names)
        if palette is not None:
            colours = np.array(palette, np.uint8).reshape(-1, 3)[: len(names)]
        stem = one.replace("\\", "/").rpartition("/")[2].removesuffix(_SUFFIX)
        layers.append(_labels(label_map, names, colours, stem))
    return layers


def _labels(
    label_map: UInt[np.ndarray, "H W"],
    names: Sequence[str],
    colours: UInt8[np.ndarray, "N 3"],
    stem: str,
) -> Layer:
    shown = np.concatenate([np.zeros((1, 4)), np.insert(colours / 255, 3, 1, axis=1)])  # (1 + N, 4)
    colormap: dict[int | None, Any] = dict(enumerate(shown))
    settings = {
        "name": f"{stem} labels",
        "colormap": {**colormap, None: shown[0]},
        "features": {"index": list(range(len(shown))), "label": ["", *names]},
    }
    return label_map + label_map.dtype.type(1), settings, "labels"  # void, the largest, becomes 0


@lru_cache(maxsize=1)
def _built_in() -> Segmenter:
    return Segmenter.load()
