"""Which label map belongs to which picture, by their names.

Tools add endings to either name: X_leftImg8bit.png has X_gtFine_labelIds.png, and X.jpg has
X_mask.png. A label map of the picture's very name comes first.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from escnet.data.label_map import LABEL_SUFFIXES
from escnet.data.picture_formats import IMAGE_SUFFIXES
from escnet.data.picture_search import natural_key
from escnet.errors import DatasetError
from escnet.files import display_path

TRAIN_IDS, IDS = "_gtFine_labelTrainIds", "_gtFine_labelIds"  # Cityscapes', the first preferred

_PICTURE_ENDINGS = ("_leftImg8bit", "_image", "_img")
# In any case, in the order in which they are preferred where a picture has several.
LABEL_ENDINGS = (
    *("", TRAIN_IDS, IDS, "_labelTrainIds", "_labelIds", "_mask", "_masks", "_label", "_labels"),
    *("_seg", "_gt", "_L", ".labels", "-mask", ".mask", "-label", "-labels", "-seg", "-gt"),
    *("_segmentation", "_annotation", "_groundtruth", "_ground_truth"),
)
_NO_LABELS = ("_color", "_colorIds", "_instanceIds", "_instanceTrainIds", "_polygons")
_MOST_DEPTH = 4  # folders within folders that are looked into


def files_by_key(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files below a folder by their path there without suffix, in natural order.

    Raises:
        DatasetError: If the folder cannot be read, or two files have the same key.
    """
    paths: dict[str, Path] = {}
    for path in sorted(_walked(folder, 0), key=natural_key):
        if path.suffix.lower() not in suffixes:
            continue
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in paths:
            raise DatasetError(
                f"folder {display_path(folder)} has 2 files called {key!r} ({paths[key].name}, "
                f"{path.name}): keep one of them"
            )
        paths[key] = path
    return paths


def _walked(folder: Path, depth: int) -> Iterable[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DatasetError(
            f"folder {display_path(folder)} cannot be read ({error.strerror}): check it"
        ) from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield entry
        elif depth < _MOST_DEPTH:
            yield from _walked(entry, depth + 1)


def label_maps_below(folder: Path) -> dict[str, Path]:
    """The label maps below a folder; colour and instance maps beside them are left out."""
    paths = files_by_key(folder, LABEL_SUFFIXES)
    return {key: path for key, path in paths.items() if not key.endswith(_NO_LABELS)}


def pictures_below(folder: Path) -> dict[str, Path]:
    """The pictures below a folder."""
    return files_by_key(folder, IMAGE_SUFFIXES)


def paired(
    pictures: Mapping[str, Path], labels: Mapping[str, Path]
) -> tuple[dict[str, Path], list[str]]:
    """Each picture's label map, and the label maps of no picture.

    Args:
        pictures: By key.
        labels: By key.

    Returns:
        The label map of each picture that has one, by the picture's key; the keys of label maps
        whose picture is not there.
    """
    by_base = {
        without_ending(key, ending): key
        for ending in (*_PICTURE_ENDINGS, "")  # a picture of the very name comes last, and stays
        for key in pictures
        if has_ending(key, ending)
    }
    rank: dict[str, int] = {}
    paths: dict[str, Path] = {}
    alone: list[str] = []
    for label_key, path in labels.items():
        picture = _picture_of(label_key, by_base)
        if picture is None:
            alone.append(label_key)
            continue
        key, place = picture
        if place < rank.get(key, len(LABEL_ENDINGS)):
            paths[key], rank[key] = path, place
    return {key: paths[key] for key in pictures if key in paths}, alone


def _picture_of(label_key: str, by_base: Mapping[str, str]) -> tuple[str, int] | None:
    for place, ending in enumerate(LABEL_ENDINGS):
        if has_ending(label_key, ending):
            base = without_ending(label_key, ending)
            if (key := by_base.get(base)) is not None:
                return key, place
    return None


def has_ending(name: str, ending: str) -> bool:
    """Whether a name ends so, in any case."""
    return name.casefold().endswith(ending.casefold())


def without_ending(name: str, ending: str) -> str:
    """The name without the ending that it has."""
    return name[: len(name) - len(ending)]
