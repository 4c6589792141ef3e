"""COCO's three forms: instances-like annotations, results for stuff, and panoptic segmentations.

Each name is a category whose id is its index plus one; the pictures are numbered as their folder
lists them. Pixels without a name have no annotation; in panoptic pictures they are 0.
"""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from escnet.annotations.format import (
    Encode,
    EncodedFile,
    EncodeWhole,
    FolderResults,
    Format,
    FormatOptions,
    PictureResult,
    Place,
    WholeFile,
)
from escnet.annotations.json_text import json_list, to_compact_json
from escnet.annotations.plain_image import encode_png
from escnet.annotations.polygons import without_holes
from escnet.annotations.rle import coco_rle
from escnet.annotations.shapes import masked_shapes, name_masks, traced_shapes

if TYPE_CHECKING:
    from shapely import Polygon

_PRECISION = 3  # decimals of a coordinate; only where holes are cut are more than one needed


def _coco_files(
    result: PictureResult, place: Place, options: FormatOptions
) -> Iterator[EncodedFile]:
    annotations = [
        {"id": number, "image_id": place.number, **content, "iscrowd": 0}
        for number, content in enumerate(_annotations(result, options), 1)
    ]
    document = {
        "images": [_image(result, place)],
        "annotations": annotations,
        "categories": _categories(result.names),
    }
    yield EncodedFile(COCO.first_file(place), to_compact_json(document))


def _annotations(result: PictureResult, options: FormatOptions) -> Iterator[dict[str, Any]]:
    if options.shape == "rle":
        for masked in masked_shapes(result, options):
            yield {
                "category_id": masked.label + 1,
                "segmentation": coco_rle(masked.mask),
                "area": int(masked.mask.sum()),
                "bbox": _box_xywh(masked.mask),
                "score": masked.score,
            }
        return
    for shape in traced_shapes(result, options):
        left, top, right, bottom = shape.box_xyxy
        pieces = [piece for polygon in shape.polygons for piece in without_holes(polygon)]
        yield {
            "category_id": shape.label + 1,
            "segmentation": [flat_outline(piece) for piece in pieces],
            "area": shape.area,
            "bbox": [left, top, right - left, bottom - top],
            "score": shape.score,
        }


def _box_xywh(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """Left, top, width, and height of what is true, in pixels."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def flat_outline(polygon: "Polygon") -> list[int | float]:
    """The corners of a polygon's outer ring as x, y, x, y, ..., each once."""
    corners = np.round(np.asarray(polygon.exterior.coords)[:-1], _PRECISION)
    # whole numbers are shorter without their ".0"
    return [int(value) if value.is_integer() else value for value in corners.ravel().tolist()]


def _image(result: PictureResult, place: Place) -> dict[str, Any]:
    height, width = result.label_map.shape
    return {"id": place.number, "file_name": place.picture_path, "width": width, "height": height}


def _categories(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": index, "name": name, "supercategory": ""} for index, name in enumerate(names, 1)]


def _coco_whole(finished: FolderResults) -> Iterator[WholeFile]:
    yield WholeFile("coco/instances.json", _document(finished, COCO, _categories(finished.names)))


def _document(
    finished: FolderResults, form: Format, categories: list[dict[str, Any]]
) -> Iterator[bytes]:
    """The parts as one document, in which pictures and annotations are numbered anew."""
    images: list[dict[str, Any]] = []

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for place, content in form.parts(finished):
            part = json.loads(content)
            images.extend({**image, "id": place.number} for image in part["images"])
            for annotation in part["annotations"]:
                annotation["image_id"] = place.number
                if "id" in annotation:  # a panoptic annotation is the picture's only one
                    number += 1
                    annotation["id"] = number
                yield annotation

    yield b'{"categories": ' + to_compact_json(categories) + b',\n"annotations": '
    yield from json_list(annotations())
    yield b',\n"images": '  # last, as they are known by then
    yield from json_list(images)
    yield b"}\n"


def _stuff_files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    results = [
        {
            "image_id": place.number,
            "category_id": label + 1,
            "segmentation": coco_rle(mask),
        }
        for label, mask, _ in name_masks(result)
    ]
    yield EncodedFile(COCO_STUFF.first_file(place), to_compact_json(results))


def _stuff_whole(finished: FolderResults) -> Iterator[WholeFile]:
    entries = (
        {**entry, "image_id": place.number}
        for place, content in COCO_STUFF.parts(finished)
        for entry in json.loads(content)
    )
    yield WholeFile("coco-stuff/results.json", json_list(entries))


def _panoptic_files(
    result: PictureResult, place: Place, options: FormatOptions
) -> Iterator[EncodedFile]:
    ids = np.zeros(result.label_map.shape, dtype=np.uint32)
    segments = []
    for number, (label, mask, _) in enumerate(masked_shapes(result, options), 1):
        ids[mask] = number
        segments.append(
            {
                "id": number,
                "category_id": label + 1,
                "area": int(mask.sum()),
                "bbox": _box_xywh(mask),
                "iscrowd": 0,
            }
        )
    path = COCO_PANOPTIC.first_file(place)
    image_path = f"{place.below}{place.stem}.png"
    document = {
        "images": [_image(result, place)],
        "annotations": [
            {"image_id": place.number, "file_name": image_path, "segments_info": segments}
        ],
        "categories": _panoptic_categories(result.names, options),
    }
    yield EncodedFile(path, to_compact_json(document))
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)  # (H, W, 3)
    yield EncodedFile(f"coco-panoptic/panoptic/{image_path}", encode_png(rgb))


def _panoptic_categories(names: Sequence[str], options: FormatOptions) -> list[dict[str, Any]]:
    return [
        {**category, "isthing": 0, "color": colour}
        for category, colour in zip(
            _categories(names), options.colours(names).tolist(), strict=True
        )
    ]


def _panoptic_whole(finished: FolderResults) -> Iterator[WholeFile]:
    categories = _panoptic_categories(finished.names, finished.options)
    yield WholeFile("coco-panoptic/panoptic.json", _document(finished, COCO_PANOPTIC, categories))


def _format(
    folder: str, file: str, *, about: str, use: str, encode: Encode, whole: EncodeWhole
) -> Format:
    """A format with a part for each picture, which one file of the folder puts together."""
    return Format(
        about=about,
        path=f"{folder}/parts/{{below}}{{stem}}.json",
        folder=folder,
        use=use,
        encode=encode,
        whole=whole,
        whole_paths=(f"{folder}/{file}",),
    )


COCO = _format(
    "coco",
    "instances.json",
    about="COCO JSON of a folder, polygons or run lengths: pycocotools, detectron2, FiftyOne",
    use="`pycocotools.coco.COCO('instances.json')`. `file_name` is the picture's path from "
    "the folder that all pictures have in common.",
    encode=_coco_files,
    whole=_coco_whole,
)
COCO_STUFF = _format(
    "coco-stuff",
    "results.json",
    about="COCO results for stuff: the evaluation of COCO-Stuff",
    use="`COCO(truth).loadRes('results.json')`; category ids are indices of names plus one.",
    encode=_stuff_files,
    whole=_stuff_whole,
)
COCO_PANOPTIC = _format(
    "coco-panoptic",
    "panoptic.json",
    about="COCO panoptic PNG and JSON: panopticapi, detectron2, Mask2Former",
    use="panoptic.json with the pictures in panoptic/; 0 is void.",
    encode=_panoptic_files,
    whole=_panoptic_whole,
)
