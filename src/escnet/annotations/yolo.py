"""YOLO's segmentation data set: images/, labels/ with a line for each outline, and data.yaml.

A line is the index of the name and the outline's corners in shares of the picture's width and
height. Outlines have no holes there, so regions that have some are cut into pieces.
"""

import json
from collections.abc import Iterator

from escnet.annotations.coco import flat_outline
from escnet.annotations.format import (
    EncodedFile,
    FolderResults,
    Format,
    FormatOptions,
    PictureResult,
    Place,
    WholeFile,
    picture_of,
)
from escnet.annotations.plain_image import encode_photo
from escnet.annotations.polygons import without_holes
from escnet.annotations.shapes import traced_shapes


def _files(result: PictureResult, place: Place, options: FormatOptions) -> Iterator[EncodedFile]:
    photo = encode_photo(picture_of(result, "yolo"))
    height, width = result.label_map.shape
    lines = []
    for shape in traced_shapes(result, options):
        for polygon in shape.polygons:
            for piece in without_holes(polygon):
                flat = flat_outline(piece)
                shares = [x / width for x in flat[::2]], [y / height for y in flat[1::2]]
                corners = " ".join(f"{x:.6g} {y:.6g}" for x, y in zip(*shares, strict=True))
                lines.append(f"{shape.label} {corners}\n")
    yield EncodedFile(YOLO.first_file(place), "".join(lines).encode("ascii"))
    yield EncodedFile(f"yolo/images/{place.below}{place.stem}.jpg", photo)


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    names = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(finished.names))
    text = f"train: images\nval: images\nnc: {len(finished.names)}\nnames:\n{names}"
    yield WholeFile("yolo/data.yaml", [text.encode("ascii")])


YOLO = Format(
    about="YOLO segmentation data set with data.yaml: Ultralytics, supervision",
    path="yolo/labels/{below}{stem}.txt",
    folder="yolo",
    use="`yolo segment train data=yolo/data.yaml model=...`; supervision: "
    "`DetectionDataset.from_yolo(images, labels, data.yaml)`.",
    encode=_files,
    whole=_whole,
    whole_paths=("yolo/data.yaml",),
    needs_picture=True,
)
