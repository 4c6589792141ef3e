"""The formats that there are, by the names that `--format` and `Segmentation.save` take."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from escnet.annotations.coco import COCO, COCO_PANOPTIC, COCO_STUFF
from escnet.annotations.contact_sheet import CONTACT_SHEET
from escnet.annotations.contact_sheet_png import CONTACT_SHEET_PNG
from escnet.annotations.cvat import CVAT_MASK, CVAT_XML
from escnet.annotations.format import (
    EncodedFile,
    FolderResults,
    Format,
    FormatOptions,
    PictureResult,
    Place,
    picture_of,
)
from escnet.annotations.geojson import GEOJSON
from escnet.annotations.hf_datasets import HF_DATASETS
from escnet.annotations.label_png import encode_label_png
from escnet.annotations.label_studio import LABEL_STUDIO
from escnet.annotations.mmseg import MMSEG
from escnet.annotations.overlay import draw_overlay, encode_overlay
from escnet.annotations.plain_image import COLOR, GREY, MASKS
from escnet.annotations.score_maps import SCORE_MAPS
from escnet.annotations.shares import SHARES
from escnet.annotations.top_names import TOP_NAMES
from escnet.annotations.voc import VOC
from escnet.annotations.yolo import YOLO
from escnet.errors import ConfigError, OutputError
from escnet.files import (
    check_claimable,
    check_replaceable,
    claim_folder,
    make_folder,
    replace_file,
    write_file,
)

DEFAULT_FORMATS = ("labels", "overlay", "json")


def _label_files(
    result: PictureResult, place: Place, options: FormatOptions
) -> Iterator[EncodedFile]:
    content = encode_label_png(
        result.label_map,
        result.names,
        void_label=result.void_label,
        colours=options.colours(result.names),
    )
    yield EncodedFile(FORMATS["labels"].first_file(place), content)


def _overlay_files(
    result: PictureResult, place: Place, options: FormatOptions
) -> Iterator[EncodedFile]:
    drawn = draw_overlay(
        picture_of(result, "overlay"),
        result.label_map,
        result.names,
        opacity=options.opacity,
        colours=options.colours(result.names),
        outlines=options.outlines,
        only=options.only,
    )
    yield EncodedFile(FORMATS["overlay"].first_file(place), encode_overlay(drawn))


FORMATS: Mapping[str, Format] = {  # in the order in which they are written
    "labels": Format(
        about="indexed PNG with names and colours: escnet, Pillow, CVAT, image editors",
        path="{below}{stem}.labels.png",
        encode=_label_files,
    ),
    "overlay": Format(
        about="the picture in the names' colours, with a legend: people",
        path="{below}{stem}.overlay.jpg",
        encode=_overlay_files,
        needs_picture=True,
    ),
    "grey": GREY,
    "color": COLOR,
    "masks": MASKS,
    "geojson": GEOJSON,
    "coco": COCO,
    "coco-stuff": COCO_STUFF,
    "coco-panoptic": COCO_PANOPTIC,
    "yolo": YOLO,
    "cvat-mask": CVAT_MASK,
    "cvat-xml": CVAT_XML,
    "label-studio": LABEL_STUDIO,
    "voc": VOC,
    "mmseg": MMSEG,
    "hf-datasets": HF_DATASETS,
    "top3": TOP_NAMES,
    "scores": SCORE_MAPS,
    "csv": SHARES,
    "contact-sheet": CONTACT_SHEET,
    "contact-sheet-png": CONTACT_SHEET_PNG,
    "json": Format(  # last, as it seals the others with their digests
        about="names, shares, confidences, settings, and digests of the files: programs, --resume",
        path="{below}{stem}.json",
        encode=None,
    ),
}


def check_formats(formats: Iterable[str], names: Sequence[str] = ()) -> tuple[str, ...]:
    """The formats, each once, in the order in which they are written.

    Args:
        formats: Some of `FORMATS`.
        names: The class names that they are going to hold.

    Raises:
        ConfigError: If there is none, one is unknown, or one cannot hold the names.
    """
    known = ", ".join(FORMATS)
    formats = tuple(formats)
    for kind in formats:
        if kind not in FORMATS:
            raise ConfigError(f"no format {kind!r}: choose from {known}")
        FORMATS[kind].check_names(names)
    if not formats:
        raise ConfigError(f"no format is given: choose from {known}")
    return tuple(kind for kind in FORMATS if kind in formats)


def write_whole_files(
    folder: str | Path,
    names: Sequence[str],
    places: Sequence[Place],
    formats: Iterable[str],
    options: FormatOptions,
) -> dict[str, list[Path]]:
    """Write the files that are about all pictures of a folder, each atomically.

    They are put together from the pictures' own files, so all that was finished is in them, by
    whichever job.

    Args:
        folder: The output folder.
        names: Class names in index order.
        places: The finished pictures, in the folder's order.
        formats: Some of `FORMATS`.
        options: Those that the pictures' files were written with.

    Returns:
        The paths of each format that has such files.

    Raises:
        OutputError: If a file cannot be written.
    """
    finished = FolderResults(Path(folder), tuple(names), places, options)
    written: dict[str, list[Path]] = {}
    for kind in check_formats(formats):
        whole = FORMATS[kind].whole
        for path, content in () if whole is None else whole(finished):
            written.setdefault(kind, []).append(
                write_format_file(finished.folder, FORMATS[kind], path, content)
            )
    return written


def write_format_file(
    folder: Path, form: Format, path: str, content: bytes | Iterable[bytes]
) -> Path:
    """Write a file of a format, atomically, and return where it is.

    Args:
        folder: The output folder.
        form: The format.
        path: The file's path below the output folder.
        content: What it holds, at once or piece by piece.

    Raises:
        OutputError: If it cannot be written, or would replace what escnet did not write.
    """
    target = folder / path
    if form.is_inside(path):
        claim_folder(folder / form.folder, f"# {form.folder}\n\n{form.about}\n\n{form.use}")
        make_folder(target.parent)
        replace_file(target, content)
    else:
        make_folder(target.parent)
        write_file(target, content)
    return target


def check_places(folder: str | Path, places: Iterable[Place], formats: Iterable[str]) -> None:
    """Make sure that results replace nothing but what escnet wrote, before anything is computed.

    Raises:
        ConfigError: If a format is unknown.
        OutputError: If something else would be replaced.
    """
    folder, places = Path(folder), list(places)
    forms = [FORMATS[kind] for kind in check_formats(formats)]
    below = {place.below.partition("/")[0].casefold() for place in places}
    for form in forms:
        if form.folder and form.folder in below:
            raise OutputError(
                f"results of the pictures in {form.folder}/ would lie among the files of the "
                f"format {form.folder}: rename that folder, or leave the format out"
            )
        if form.folder:
            check_claimable(folder / form.folder)
    written = [
        folder / path
        for place in places
        for form in forms
        if not form.is_inside(path := form.first_file(place))
    ]
    written += [
        folder / path for form in forms for path in form.whole_paths if not form.is_inside(path)
    ]
    check_replaceable(written)
