"""The layout of MMSegmentation: img_dir and ann_dir, and a config with names and colours.

Label maps are grey PNG files of 8 bits whose values are the indices of the names; 255 is ignored.
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
    check_name_count,
    picture_of,
)
from escnet.annotations.plain_image import encode_photo, encode_png


def _files(result: PictureResult, place: Place, _: FormatOptions) -> Iterator[EncodedFile]:
    photo = encode_photo(picture_of(result, "mmseg"))
    yield EncodedFile(MMSEG.first_file(place), encode_png(result.label_map))
    yield EncodedFile(f"mmseg/img_dir/train/{place.below}{place.stem}.jpg", photo)


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    palette = finished.options.colours(finished.names).tolist()
    text = (
        '"""The pictures beside this file as a data set of MMSegmentation."""\n\n'
        f"metainfo = dict(\n    classes={finished.names!a},\n    palette={palette},\n)\n"
        "dataset = dict(\n"
        '    type="BaseSegDataset",\n'
        '    data_root="{{ fileDirname }}",\n'
        '    data_prefix=dict(img_path="img_dir/train", seg_map_path="ann_dir/train"),\n'
        '    img_suffix=".jpg",\n'
        '    seg_map_suffix=".png",\n'
        "    metainfo=metainfo,\n)\n"
    )
    yield WholeFile("mmseg/dataset.py", [text.encode("ascii")])


MMSEG = Format(
    about="img_dir and ann_dir, with names and colours in dataset.py: MMSegmentation",
    path="mmseg/ann_dir/train/{below}{stem}.png",
    folder="mmseg",
    use="`_base_ = 'mmseg/dataset.py'` in a config, or its `dataset` in a data loader.",
    encode=_files,
    whole=_whole,
    whole_paths=("mmseg/dataset.py",),
    needs_picture=True,
    check_names=lambda names: check_name_count(names, 254, "mmseg"),
)
