"""Nuclio: the functions that CVAT's own server calls for "Automatic annotation".

`docker/cvat-nuclio` has the function.yaml that names them, the class names and the model.
"""

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Bool

from escnet.annotations.coco import flat_outline
from escnet.annotations.format import FormatOptions
from escnet.annotations.shapes import masked_shapes, traced_shapes
from escnet.errors import ConfigError, EscnetError, ImageError
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation
from escnet.small_file import SmallFile
from escnet.vocabulary import Vocabulary

FUNCTION_FILE = Path("/opt/nuclio/function.yaml")  # where Nuclio puts it
_FUNCTION = SmallFile(
    noun="function", error=ConfigError, cure="compare it with docker/cvat-nuclio/function.yaml"
)


def init_context(context: Any, function_file: Path = FUNCTION_FILE) -> None:
    """Load the model, once for each of Nuclio's workers.

    Raises:
        ConfigError: If function.yaml cannot be read, or lacks the labels.
        WeightsError: If the model is not here.
        VocabularyError: If the labels are empty, repeated or too long.
    """
    try:
        annotations = yaml.safe_load(_FUNCTION.text_of(function_file))["metadata"]["annotations"]
        names = [str(label["name"]) for label in json.loads(annotations["spec"])]
        model = str(annotations.get("model", "mini"))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{function_file} has no labels in metadata, annotations, spec ({error!r}): compare it "
            "with docker/cvat-nuclio/function.yaml"
        ) from None
    context.user_data.vocabulary = Vocabulary.of(names)
    context.user_data.segmenter = Segmenter.load(model)


def handler(context: Any, event: Any) -> Any:
    """CVAT's answer for one picture.

    Args:
        context: Nuclio's, after `init_context`.
        event: Its body is `{"image": base64, "threshold": 0.5}`.
    """
    try:
        content, threshold = _request(event.body)
        result = context.user_data.segmenter.segment(
            content, context.user_data.vocabulary, void_below=threshold
        )
    except EscnetError as error:
        return _response(context, {"error": str(error)}, 400)
    return _response(context, shapes(result), 200)


def shapes(result: Segmentation) -> list[dict[str, Any]]:
    """A mask for each connected region of a name, with its outline for tasks that want polygons.

    CVAT's polygons have no holes, so the outline runs around those of the region.
    """
    options = FormatOptions(per="region")
    both = zip(masked_shapes(result, options), traced_shapes(result, options), strict=True)
    return [
        {
            "confidence": str(masked.score),
            "label": result.names[masked.label],
            "type": "mask",
            "mask": _boxed(masked.mask, traced.box_xyxy),
            "points": flat_outline(traced.polygons[0]),
        }
        for masked, traced in both
    ]


def _boxed(mask: Bool[np.ndarray, "H W"], box_xyxy: tuple[int, int, int, int]) -> list[int]:
    """The pixels of a box, then its first and last column and row, as the server unpacks them."""
    left, top, right, bottom = box_xyxy
    pixels: list[int] = mask[top:bottom, left:right].astype(int).ravel().tolist()
    return [*pixels, left, top, right - 1, bottom - 1]


def _request(body: Any) -> tuple[bytes, float]:
    """The picture's file, and the confidence below which pixels get no label.

    Raises:
        ImageError: If there is no picture.
    """
    try:
        return base64.b64decode(body["image"]), float(body.get("threshold") or 0.0)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise ImageError(f"the request has no picture in base64 as 'image' ({error!r})") from None


def _response(context: Any, body: object, status: int) -> Any:
    return context.Response(
        body=json.dumps(body), headers={}, content_type="application/json", status_code=status
    )
