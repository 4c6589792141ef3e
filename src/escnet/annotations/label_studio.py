"""Tasks with predictions for Label Studio: a brush mask for each name, and the labelling set-up."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np

from escnet.annotations.format import (
    EncodedFile,
    FolderResults,
    Format,
    FormatOptions,
    PictureResult,
    Place,
    WholeFile,
)
from escnet.annotations.json_text import json_list, to_utf8
from escnet.annotations.rle import brush_rle
from escnet.annotations.shapes import name_masks

_FROM, _TO = "label", "image"  # the tags of the set-up that predictions refer to
_LOCAL_FILE = "/data/local-files/?d="  # how Label Studio serves files of its own machine


def _files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    yield EncodedFile(LABEL_STUDIO.first_file(place), b"".join(json_list([_task(result, place)])))


def _task(result: PictureResult, place: Place) -> dict[str, Any]:
    picture = quote(place.picture_path.encode("utf-8", "surrogateescape"))
    return {
        "data": {_TO: _LOCAL_FILE + picture},
        "predictions": [prediction(result, result.model, _FROM, _TO)],
    }


def _brush_regions(result: PictureResult, from_name: str, to_name: str) -> list[dict[str, Any]]:
    """What Label Studio draws on a picture: a brush region for each name that has pixels.

    Args:
        result: One picture's result.
        from_name: The name of the set-up's BrushLabels.
        to_name: That of its Image.
    """
    height, width = result.label_map.shape
    return [
        {
            "id": f"name-{label}",
            "type": "brushlabels",
            "from_name": from_name,
            "to_name": to_name,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": score,
            "value": {
                "format": "rle",
                "rle": brush_rle(mask),
                "brushlabels": [result.names[label]],
            },
        }
        for label, mask, score in name_masks(result)
    ]


def prediction(
    result: PictureResult, model_version: str, from_name: str, to_name: str
) -> dict[str, Any]:
    """One picture's prediction; its score is the mean confidence of the pixels with a name.

    Args:
        result: The picture's result.
        model_version: What Label Studio calls the model.
        from_name: The name of the set-up's BrushLabels.
        to_name: That of its Image.
    """
    named = result.confidence[result.label_map < len(result.names)]
    return {
        "model_version": model_version,
        "score": round(float(np.mean(named)), 4) if named.size else 0.0,
        "result": _brush_regions(result, from_name, to_name),
    }


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    tasks = (task for _, content in LABEL_STUDIO.parts(finished) for task in json.loads(content))
    yield WholeFile("label-studio/tasks.json", json_list(tasks))
    yield WholeFile("label-studio/set-up.xml", [_set_up(finished.names, finished.options)])


def _set_up(names: Sequence[str], options: FormatOptions) -> bytes:
    labels = "".join(
        f'    <Label value="{escape(name)}" background="#{bytes(colour).hex()}"/>\n'
        for name, colour in zip(names, options.colours(names).tolist(), strict=True)
    )
    return to_utf8(
        f'<View>\n  <Image name="{_TO}" value="${_TO}" zoom="true"/>\n'
        f'  <BrushLabels name="{_FROM}" toName="{_TO}">\n{labels}  </BrushLabels>\n</View>\n'
    )


LABEL_STUDIO = Format(
    about="tasks with brush predictions, and the labelling set-up: Label Studio",
    path="label-studio/parts/{below}{stem}.json",
    folder="label-studio",
    use="Settings, Labeling Interface, Code: paste set-up.xml; then Import: tasks.json. Start "
    "Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
    "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=the folder of the pictures.",
    encode=_files,
    whole=_whole,
    whole_paths=(
        "label-studio/tasks.json",
        "label-studio/set-up.xml",
    ),
)
