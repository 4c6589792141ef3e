"""Which layout a folder of pictures with label maps has, recognised by what is in it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from escnet.data.coco_json import coco_readings
from escnet.data.cvat_xml import cvat_readings
from escnet.data.folder_layouts import SPLIT_NAMES, beside, chosen_split, two_folders
from escnet.data.hugging_face import hugging_face_readings
from escnet.data.label_studio_json import label_studio_readings
from escnet.data.reading import FolderOptions, Reading
from escnet.errors import DatasetError
from escnet.files import display_path

Finders = Mapping[str, Callable[[Path, FolderOptions], list[Reading]]]

FINDERS: Finders = {
    "folders": two_folders,
    "beside": beside,
    "coco": coco_readings,
    "cvat": cvat_readings,
    "label-studio": label_studio_readings,
    "datasets": hugging_face_readings,
}
_FILE_LAYOUTS = ("coco", "cvat", "label-studio", "datasets")  # that one file can be
_WHAT_IS_READ = (
    "images/ with masks/ (or img_dir/ann_dir, JPEGImages/SegmentationClass, leftImg8bit/gtFine), "
    "label maps beside their pictures (X.png or X_mask.png), a COCO JSON file, annotations.xml "
    "of CVAT, Label Studio's JSON, or a data set of Hugging Face"
)


def recognised(root: Path, options: FolderOptions) -> Reading:
    """The one reading that a folder or file allows.

    Raises:
        DatasetError: If there is none, or more than one.
    """
    readings = _readings(root, options)
    if len(readings) > 1:
        ways = " and as ".join(reading.said for reading in readings)
        layouts = list(dict.fromkeys(reading.layout for reading in readings))
        cure = (
            f"choose with --layout {' or --layout '.join(layouts)}"
            if len(layouts) > 1
            else "keep one of them there, or give that one's path"
        )
        raise DatasetError(f"{display_path(root)} can be read as {ways}: {cure}")
    if readings:
        return readings[0]
    wanted = f" as {options.layout}" if options.layout else ""
    raise DatasetError(
        f"{display_path(root)} holds no pictures with label maps{wanted} that are recognised: "
        f"this is read: {_WHAT_IS_READ}"
    )


def _readings(root: Path, options: FolderOptions) -> list[Reading]:
    if not root.exists():
        raise DatasetError(f"folder {display_path(root)} does not exist: check the path")
    finders = FINDERS
    if options.layout is not None:
        if options.layout not in FINDERS:
            raise DatasetError(f"no layout {options.layout!r}: choose from {', '.join(FINDERS)}")
        finders = {options.layout: FINDERS[options.layout]}
    try:
        if root.is_file():
            files = [finders[name] for name in _FILE_LAYOUTS if name in finders]
            return [reading for find in files for reading in find(root, options)]
        readings = [reading for find in finders.values() for reading in find(root, options)]
        return readings or _in_parts(root, options, finders)
    except OSError as error:
        raise DatasetError(
            f"{display_path(root)} cannot be read ({error.strerror}): check its permissions"
        ) from None


def _in_parts(root: Path, options: FolderOptions, finders: Finders) -> list[Reading]:
    """The readings of the split that is meant, where each split is a folder of its own."""
    parts = [
        path.name
        for path in sorted(root.iterdir())
        if path.is_dir() and (path.name.casefold() in SPLIT_NAMES or path.name == options.split)
    ]
    wanted = parts if options.split not in parts else [options.split]
    inner = replace(options, split=None)
    of_part = {
        part: [reading for find in finders.values() for reading in find(root / part, inner)]
        for part in wanted
    }
    parts = [part for part in wanted if of_part[part]]
    if not parts:
        return []
    chosen = chosen_split(parts, options, root)
    return [
        replace(reading, said=f"{chosen}/: {reading.said}", split=chosen)
        for reading in of_part[chosen]
    ]
