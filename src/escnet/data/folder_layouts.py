"""Finders for pictures with label maps as files: in two folders, or beside each other.

Two folders are images/ and masks/ under whatever names tools give them: img_dir/ and ann_dir/ of
mmsegmentation, JPEGImages/ and SegmentationClass/ of VOC and of CVAT's "Segmentation mask 1.1",
leftImg8bit/ and gtFine/ of Cityscapes. Beside each other are Roboflow's X.jpg and X_mask.png, and
X.jpg and X.png.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from escnet.data.cityscapes import BY_ID, BY_TRAIN_ID, NOT_SCORED
from escnet.data.conventions import IGNORED
from escnet.data.label_map import LABEL_SUFFIXES, read_coloured_map, read_label_map
from escnet.data.label_table import LabelTable
from escnet.data.labelled_picture import LabelledPicture, ReadLabels
from escnet.data.layout import class_names
from escnet.data.pairing import (
    IDS,
    LABEL_ENDINGS,
    TRAIN_IDS,
    has_ending,
    label_maps_below,
    paired,
    pictures_below,
    without_ending,
)
from escnet.data.picture_formats import IMAGE_SUFFIXES
from escnet.data.reading import FolderOptions, Reading, table_of
from escnet.errors import DatasetError
from escnet.files import display_path

PICTURE_FOLDERS = (
    *("images", "img_dir", "JPEGImages", "leftImg8bit", "image", "imgs", "img", "pictures"),
    "photos",
)
LABEL_FOLDERS = (
    *("masks", "ann_dir", "SegmentationClass", "gtFine", "mask", "labels", "annotations", "label"),
    *("gt", "label_maps", "annotation"),
)
SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "test", "testing", "default")

_VOC = LabelTable.of_names(("background", *class_names("voc20")), "VOC's 20 classes")
_KEPT_SETS = "ImageSets/Segmentation"


def two_folders(root: Path, options: FolderOptions) -> list[Reading]:
    """The readings as a folder of pictures and one of label maps; empty if it is none.

    Raises:
        DatasetError: If it is one, and something is wrong in it.
    """
    pictures = _folders(root, PICTURE_FOLDERS, IMAGE_SUFFIXES)
    labels = _folders(root, LABEL_FOLDERS, LABEL_SUFFIXES)
    both = [(p, a) for p in pictures for a in labels]
    if len(both) > 1:  # img_dir/ goes with ann_dir/ alone where their names say so
        both = [two for two in both if _match(*two)] or both[:1]
    return [_two_folders(root, *two, options) for two in both]


def beside(root: Path, options: FolderOptions) -> list[Reading]:
    """The reading as label maps beside their pictures, in one folder; empty if it is none.

    Raises:
        DatasetError: If it is one, and something is wrong in it.
    """
    files = [path for path in root.iterdir() if path.is_file() and not path.name.startswith(".")]
    labels = label_maps_among(files)
    pictures = {
        path.stem: path
        for path in files
        if path.suffix.lower() in IMAGE_SUFFIXES and path not in labels
    }
    by_key = {path.stem: path for path in labels}
    if not labels or not pictures:
        return []
    pairs, alone = paired(pictures, by_key)
    if not pairs:
        return []
    said = "label maps beside their pictures"
    if (root / "_classes.csv").is_file():
        said = "Roboflow's masks (X_mask.png beside X.jpg, _classes.csv)"
    return [_reading("beside", said, root, pictures, pairs, alone, (root,), options)]


def label_maps_among(paths: Sequence[Path]) -> set[Path]:
    """The files that are label maps of others, by their names: X_mask.png of X.jpg, X.png of X.jpg.

    Two pictures of one name, such as a.jpg and a.webp, are two pictures: only a PNG beside a
    picture of another format is taken, and an ending only where the picture without it is there.
    """
    stems: dict[tuple[Path, str], list[Path]] = {}
    for path in paths:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            stems.setdefault((path.parent, path.stem), []).append(path)
    label_maps: set[Path] = set()
    for path in paths:
        if path.suffix.lower() not in LABEL_SUFFIXES:
            continue
        base = _base_of(path.stem)
        bases = [(path.parent, base), (path.parent, f"{base}_leftImg8bit")] if base else []
        if any(key in stems for key in bases) or (
            path.suffix.lower() == ".png"
            and any(
                other.suffix.lower() in {".jpg", ".jpeg"} for other in stems[path.parent, path.stem]
            )
        ):
            label_maps.add(path)
    return label_maps


def label_maps_beside(paths: Sequence[Path]) -> set[Path]:
    """Those of a job's pictures that are label maps of others among them, and no photographs.

    Beside what their names say (X_mask.png of X.jpg, SegmentationClass/ beside JPEGImages/), a PNG
    that has its name in common with a JPEG must look like a label map: it may be a copy.
    """
    folders = {path.parent.name.casefold(): path.parent for path in paths}
    tops = {path.parent.parent for path in paths if path.parent.name.casefold() in _PICTURES}
    label_maps = {
        path
        for path in paths
        if path.parent.name in _LABELS_ALONE and path.parent.parent in tops and len(folders) > 1
    }
    for path in label_maps_among(paths):
        if _base_of(path.stem) is not None or _looks_like_labels(path):
            label_maps.add(path)
    return label_maps


def _looks_like_labels(path: Path) -> bool:
    """Whether a picture has one channel and few values."""
    try:
        labels = read_label_map(path)
    except DatasetError:
        return False
    return len(np.unique(labels)) <= _MOST_LABELS


_PICTURES = {name.casefold() for name in PICTURE_FOLDERS}
_LABELS_ALONE = {"SegmentationClass", "SegmentationObject", "masks", "ann_dir", "gtFine"}
_MOST_LABELS = 64  # different values in a label map; grey photographs have more
# Not of what `escnet segment` writes, which is told of photographs elsewhere, and not "_L", which
# the left one of two photographs may have as well.
_ENDINGS = (
    *("_gtFine_color", "_gtFine_instanceIds"),
    *(ending for ending in LABEL_ENDINGS if ending not in {"", "_L", ".labels"}),
)


def _base_of(stem: str) -> str | None:
    """The picture's stem of a label map with an ending; None without one."""
    return next((without_ending(stem, end) for end in _ENDINGS if has_ending(stem, end)), None)


def _folders(root: Path, names: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """The sub-folders of such names that hold such files."""
    wanted = {name.casefold() for name in names}
    return [
        path
        for path in sorted(root.iterdir())
        if path.name.casefold() in wanted and path.is_dir() and _holds(path, suffixes)
    ]


def _match(pictures: Path, labels: Path) -> bool:
    """Whether a label map is named like a picture."""
    return bool(paired(pictures_below(pictures), label_maps_below(labels))[0])


def _holds(folder: Path, suffixes: Sequence[str]) -> bool:
    """Whether a file of such a suffix is somewhere below."""
    return any(path.suffix.lower() in suffixes for path in folder.rglob("*.*"))


def _two_folders(root: Path, pictures: Path, labels: Path, options: FolderOptions) -> Reading:
    part = _part_of(pictures, labels, options)
    where = "/" if part is None else f"/{part}"
    if part is not None:
        pictures, labels = pictures / part, labels / part
    images, maps = pictures_below(pictures), label_maps_below(labels)
    kept = _listed(root, options) if labels.name == "SegmentationClass" else None
    if kept is not None:
        maps = {key: path for key, path in maps.items() if key in kept}
    pairs, alone = paired(images, maps)
    name = pictures.relative_to(root).parts[0]
    said = f"{name}{where} with {labels.relative_to(root).parts[0]}{where}"
    folders = (root, labels, pictures, labels.parent, root.parent)
    voc = labels.name == "SegmentationClass"
    return _reading(
        "folders", said, root, images, pairs, alone, folders, options,
        split=part, may_lack=voc,
    )  # fmt: skip


def _part_of(pictures: Path, labels: Path, options: FolderOptions) -> str | None:
    """The split that is read, where both folders have folders of such names and nothing else."""
    parts = [path.name for path in _subfolders(pictures) if (labels / path.name).is_dir()]
    parts = [name for name in parts if name.casefold() in SPLIT_NAMES or name == options.split]
    if not parts:
        return None
    return chosen_split(parts, options, pictures.parent)


def chosen_split(parts: Sequence[str], options: FolderOptions, root: Path) -> str:
    """The one that is asked for, or the only one.

    Raises:
        DatasetError: If there is no such one, or several and none is asked for.
    """
    shown = f"{display_path(root)} has the parts {', '.join(parts)}"
    if options.split is None:
        if len(parts) == 1:
            return parts[0]
        raise DatasetError(f"{shown}: choose one with --split {parts[-1]}")
    if options.split not in parts:
        raise DatasetError(f"{shown}, but no {options.split!r}: choose one of them")
    return options.split


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _listed(root: Path, options: FolderOptions) -> set[str] | None:
    """The stems of VOC's list for the split; None where none is asked for."""
    if options.split is None:
        return None
    path = root / _KEPT_SETS / f"{options.split}.txt"
    try:
        return {line.split()[0] for line in path.read_text("utf-8").splitlines() if line.strip()}
    except (OSError, ValueError):
        raise DatasetError(
            f"{display_path(path)} cannot be read: choose a --split that {_KEPT_SETS} lists"
        ) from None


def _reading(
    layout: str,
    said: str,
    root: Path,
    pictures: Mapping[str, Path],
    pairs: Mapping[str, Path],
    alone: Sequence[str],
    folders: tuple[Path, ...],
    options: FolderOptions,
    *,
    split: str | None = None,
    may_lack: bool = False,
) -> Reading:
    _refuse_lone(root, pictures, pairs, alone, may_lack=may_lack)
    table = table_of(options, *folders)
    usual = {255: IGNORED}
    stems = {path.stem for path in pairs.values()}
    if may_lack and table is None:
        table, said = _VOC, f"{said}, VOC's 20 classes"
    elif all(stem.endswith((TRAIN_IDS, IDS)) for stem in stems):
        said = f"Cityscapes: {said}"
        if table is None and all(stem.endswith(TRAIN_IDS) for stem in stems):
            table = BY_TRAIN_ID
        elif table is None:
            table, usual = BY_ID, dict.fromkeys((*NOT_SCORED, 255), IGNORED)
    read: ReadLabels = read_label_map
    if table is not None and table.has_colours:
        read = partial(read_coloured_map, labels=table.by_colour(), table_shown=table.shown)
        kind = "CVAT's segmentation masks: " if table.shown.endswith("labelmap.txt") else ""
        said = f"{kind}{said}, colours by {Path(table.shown).name}"
    return Reading(
        layout=layout,
        said=said,
        pictures=tuple(
            LabelledPicture(stem=key, image_path=pictures[key], label_path=path, read=read)
            for key, path in pairs.items()
        ),
        table=table,
        usual=usual,
        without_truth=len(pictures) - len(pairs),
        split=split,
    )


def _refuse_lone(
    root: Path,
    pictures: Mapping[str, Path],
    pairs: Mapping[str, Path],
    alone: Sequence[str],
    *,
    may_lack: bool,
) -> None:
    """Refuse a picture without label map, and a label map without picture."""
    lacking = [key for key in pictures if key not in pairs]
    if not pairs:
        raise DatasetError(
            f"no picture in {display_path(root)} has a label map of its name (such as "
            f"{next(iter(pictures), 'none')} and {next(iter(alone), 'none')}): name both alike"
        )
    if lacking and not may_lack:
        path = display_path(pictures[lacking[0]])
        raise DatasetError(
            f"{len(lacking)} of {len(pictures)} pictures lack a label map, the first picture is "
            f"{path}: add it, or move the picture away"
        )
    if alone:
        raise DatasetError(
            f"{len(alone)} label map{'s lack' if len(alone) > 1 else ' lacks'} a picture, the "
            f"first is {alone[0]}: add it, or move the label map away"
        )
