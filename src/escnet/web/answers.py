"""A result as the JSON that goes out; runs in a worker process.

Sizes: H x W pixels.
"""

import base64
import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from escnet.annotations.format import FormatOptions, Place
from escnet.annotations.label_png import encode_label_png
from escnet.annotations.registry import FORMATS
from escnet.annotations.rle import coco_rle
from escnet.annotations.shapes import name_masks
from escnet.segmentation import Segmentation
from escnet.web.messages import Answer, Asked, Mask, NameAnswer, Top, Void

_PNG_COMPRESSION = 3  # maps of confidence hardly get smaller above, and take long


def answer_of(result: Segmentation, asked: Asked, warnings: Sequence[str]) -> Answer:
    """The parts that were asked for.

    Args:
        result: Of one picture.
        asked: By the client.
        warnings: About the names.
    """
    summary = result.summary()
    options = FormatOptions(tolerance=asked.tolerance, per=asked.per)
    options = options.with_colours(result.own_colours)
    colours = options.colours(result.names).tolist()
    return Answer(
        escnet=summary["escnet"],
        model=result.model,
        weights_hash=result.weights_hash,
        settings=summary["settings"],
        height=summary["height"],
        width=summary["width"],
        void=Void(**summary["void"]),
        names=[
            NameAnswer(**entry, colour=f"#{bytes(colour).hex()}")
            for entry, colour in zip(summary["names"], colours, strict=True)
        ],
        warnings=list(warnings),
        **{part: _MAKERS[part](result, options) for part in asked.answer if part in _MAKERS},
    )


def _png(result: Segmentation, options: FormatOptions) -> str:
    content = encode_label_png(
        result.label_map,
        result.names,
        void_label=result.void_label,
        colours=options.colours(result.names),
    )
    return base64.b64encode(content).decode("ascii")


def _confidence(result: Segmentation, _: FormatOptions) -> str:
    return _encoded(_to_8_bits(result.confidence))


def _rle(result: Segmentation, _: FormatOptions) -> list[Mask]:
    return [Mask(index=label, **coco_rle(mask)) for label, mask, _ in name_masks(result)]


def _top(result: Segmentation, _: FormatOptions) -> Top | None:
    if result.top_names is None or result.top_probabilities is None:
        return None
    indices = np.moveaxis(result.top_names, 0, -1)  # (H, W, 3)
    chances = np.moveaxis(_to_8_bits(result.top_probabilities), 0, -1)
    is_wide = indices.dtype != np.uint8
    return Top(
        indices=_encoded((indices & 255).astype(np.uint8)),
        upper=_encoded((indices >> 8).astype(np.uint8)) if is_wide else None,
        probabilities=_encoded(np.ascontiguousarray(chances)),
    )


def _document(kind: str, result: Segmentation, options: FormatOptions) -> dict[str, Any]:
    """One picture's file of a format that is JSON."""
    encode = FORMATS[kind].encode
    assert encode is not None  # noqa: S101 -- for the type checker
    first = next(iter(encode(result, Place("picture"), options)))
    document: dict[str, Any] = json.loads(first.content)
    return document


_MAKERS: dict[str, Any] = {
    "png": _png,
    "confidence": _confidence,
    "top": _top,
    "rle": _rle,
    "polygons": lambda result, options: _document("geojson", result, options),
    "coco": lambda result, options: _document("coco", result, options),
}


def _to_8_bits(fraction: Float[np.ndarray, "*H W"]) -> UInt8[np.ndarray, "*H W"]:
    return np.rint(fraction.astype(np.float32) * 255).astype(np.uint8)


def _encoded(pixels: UInt8[np.ndarray, "H W *C"]) -> str:
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=_PNG_COMPRESSION)
    return base64.b64encode(content.getvalue()).decode("ascii")
