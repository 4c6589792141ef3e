"""A folder that `datasets.load_dataset("imagefolder", data_dir=...)` reads.

It has two columns of pictures, `image` and `label`; label maps are grey and hold indices of names,
which id2label.json tells. The package `datasets` is not needed to write it.
"""

from collections.abc import Iterator

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
from escnet.annotations.json_text import to_compact_json, to_json
from escnet.annotations.plain_image import encode_photo, encode_png

_FOLDER = "hf-datasets"


def _files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    photo = encode_photo(picture_of(result, "hf-datasets"))
    yield EncodedFile(HF_DATASETS.first_file(place), encode_png(result.label_map))
    yield EncodedFile(f"{_FOLDER}/train/images/{place.below}{place.stem}.jpg", photo)


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    yield WholeFile(f"{_FOLDER}/train/metadata.jsonl", map(_row, finished.places))
    id2label = {str(index): name for index, name in enumerate(finished.names)}
    yield WholeFile(f"{_FOLDER}/id2label.json", [to_json(id2label)])


def _row(place: Place) -> bytes:
    row = {
        "image_file_name": f"images/{place.below}{place.stem}.jpg",
        "label_file_name": f"labels/{place.below}{place.stem}.png",
    }
    return to_compact_json(row) + b"\n"


HF_DATASETS = Format(
    about="an image folder with the columns image and label, and id2label.json: datasets",
    path="hf-datasets/train/labels/{below}{stem}.png",
    folder="hf-datasets",
    use="`datasets.load_dataset('imagefolder', data_dir='hf-datasets')`.",
    encode=_files,
    whole=_whole,
    whole_paths=(
        "hf-datasets/train/metadata.jsonl",
        "hf-datasets/id2label.json",
    ),
    needs_picture=True,
)
