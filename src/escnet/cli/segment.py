"""`escnet segment`: pictures and names in, label maps out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.bulk import Address, Engine, Workers, find_anywhere, workforce_from_options
from escnet.cli.options import (
    AsJson,
    Background,
    CalibratedBy,
    Classes,
    ClassesFile,
    Device,
    Dtype,
    Exact,
    Limit,
    MaxPixels,
    Model,
    Recursive,
    SharePrior,
    Sources,
    Threads,
    WindowsMode,
    check_machine,
    pictures_from_sources,
    vocabulary_from_options,
    windows_from_options,
)
from escnet.data.limits import MAX_PIXELS

if TYPE_CHECKING:
    from escnet.cli.segment_request import SegmentRequest

_FORMATS = "Formats (docs: Results in other programs)"
_RASTERS = "Rasters (docs: Segment rasters)"
_FILMS = "Films (docs: Segment films)"


def segment(  # noqa: PLR0913, PLR0917 -- one argument for each option
    sources: Sources,
    classes: Classes = None,
    classes_file: ClassesFile = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the results; sub-folders of the sources are mirrored.")
    ] = Path(),
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="What to write: labels, overlay, grey, color, masks, geojson, coco, coco-stuff, "
            "coco-panoptic, yolo, cvat-mask, cvat-xml, label-studio, voc, mmseg, hf-datasets, "
            "top3, scores, csv, contact-sheet, contact-sheet-png, json.",
            metavar="A,B,...",
        ),
    ] = "labels,overlay,json",
    limit: Limit = None,
    min_area: Annotated[
        int,
        typer.Option(
            help="Regions of fewer pixels go to the neighbour with the longest border.",
            metavar="PIXELS",
        ),
    ] = 0,
    fill_holes: Annotated[
        int,
        typer.Option(
            help="Holes of up to this many pixels within one name become that name.",
            metavar="PIXELS",
        ),
    ] = 0,
    tolerance: Annotated[
        float,
        typer.Option(
            help="How coarse polygons may be; 0 follows the pixels.",
            metavar="PIXELS",
            rich_help_panel=_FORMATS,
        ),
    ] = 0.5,
    per: Annotated[
        str,
        typer.Option(
            help="What one annotation covers: all of a name, or one connected region.",
            metavar="name|region",
            rich_help_panel=_FORMATS,
        ),
    ] = "name",
    shape: Annotated[
        str,
        typer.Option(
            help="How COCO's annotations hold it: as polygons, or as run lengths.",
            metavar="polygon|rle",
            rich_help_panel=_FORMATS,
        ),
    ] = "polygon",
    palette: Annotated[
        str,
        typer.Option(
            help="Colours by what the names mean, or by their index alone.",
            metavar="names|index",
            rich_help_panel=_FORMATS,
        ),
    ] = "names",
    opacity: Annotated[
        float,
        typer.Option(
            help="Share of the colour in overlays.", metavar="P", rich_help_panel=_FORMATS
        ),
    ] = 0.55,
    outlines: Annotated[
        bool,
        typer.Option("--outlines", help="Overlays of outlines alone.", rich_help_panel=_FORMATS),
    ] = False,
    only: Annotated[
        str,
        typer.Option(
            help="The names that overlays show, if not all.",
            metavar="A,B,...",
            rich_help_panel=_FORMATS,
        ),
    ] = "",
    doubtful_below: Annotated[
        float,
        typer.Option(
            help="The confidence below which csv and contact sheets call a pixel doubtful.",
            metavar="P",
            rich_help_panel=_FORMATS,
        ),
    ] = 0.5,
    void_below: Annotated[
        float,
        typer.Option(
            help="Leave pixels below this confidence unlabelled, those of --background among them.",
            metavar="P",
        ),
    ] = 0.0,
    background: Background = False,
    level: Annotated[
        int,
        typer.Option(
            help="Results in the groups of a names file: 1 for the outermost, 2 for those within "
            "them, ...; 0 for the labels themselves.",
            metavar="N",
        ),
    ] = 0,
    windows: WindowsMode = "whole",
    window_side: Annotated[
        int | None,
        typer.Option(
            help="Side of a window in pixels of the picture; it is brought to the size that the "
            "model sees, so larger ones are faster and coarser.",
            metavar="PIXELS",
        ),
    ] = None,
    window_overlap: Annotated[
        float | None, typer.Option(help="Share of a window that the next one has, too.")
    ] = None,
    recursive: Recursive = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip pictures that an equal run has finished.")
    ] = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    depth: Annotated[
        int | None,
        typer.Option(
            help="Bits that are used of values of more than 8, such as 12 of 16; if not given, the "
            "least usual number that holds the largest value.",
            metavar="BITS",
        ),
    ] = None,
    pages: Annotated[
        str,
        typer.Option(
            help="Pages of a TIFF, or frames of a GIF, that are read, each as a picture.",
            metavar="first|all|1,3-5",
        ),
    ] = "first",
    kind: Annotated[
        str,
        typer.Option(
            "--as",
            help="What the sources are read as; if not given, their content says so.",
            metavar="auto|picture|raster|film",
        ),
    ] = "auto",
    bands: Annotated[
        str,
        typer.Option(
            help="Bands of a raster that are red, green and blue, from 1.",
            metavar="R,G,B",
            rich_help_panel=_RASTERS,
        ),
    ] = "",
    stretch: Annotated[
        str,
        typer.Option(
            help="What becomes black and white in a raster: percentiles of each band such as 2,98, "
            "or values such as 0..3000.",
            metavar="LOW,HIGH",
            rich_help_panel=_RASTERS,
        ),
    ] = "",
    frames: Annotated[
        bool,
        typer.Option(
            "--frames",
            help="Each folder is a film, and its pictures are the frames in their order.",
            rich_help_panel=_FILMS,
        ),
    ] = False,
    smooth: Annotated[
        float | None,
        typer.Option(
            help="How much earlier frames count where they agree with a frame, 0 (off) to 0.95; "
            "if not given, what was best in a measurement.",
            metavar="P",
            rich_help_panel=_FILMS,
        ),
    ] = None,
    keyframes: Annotated[
        int,
        typer.Option(
            help="Ask the model at every so many frames, and carry the labels along between them.",
            metavar="N",
            rich_help_panel=_FILMS,
        ),
    ] = 1,
    model: Model = "mini",
    share_prior: SharePrior = None,
    calibration: CalibratedBy = None,
    exact: Exact = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    engine: Engine = "local",
    address: Address = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Segment pictures by the names of things.

    For each picture STEM.jpg this writes STEM.labels.png (pixel value = index of the name, 255 or
    65535 = no name), STEM.overlay.jpg (colours and legend), and STEM.json (names, shares,
    confidence), or what --format says. A file that escnet did not write is never replaced, whatever
    it is called. Pictures that cannot be read do not stop the others; they are listed at the end
    and in failures.json, and the exit code is 1.
    """
    from escnet.annotations.format import FormatOptions
    from escnet.cli.segment_request import SegmentRequest
    from escnet.data.pages import Pages
    from escnet.inference.methods.model_name import ModelName
    from escnet.inference.options import SegmentOptions

    # everything cheap comes before the model, which takes seconds to load
    vocabulary = vocabulary_from_options(classes, classes_file, background=background)
    options = SegmentOptions(
        void_below=void_below,
        windows=windows_from_options(windows, window_overlap, window_side),
        share_prior=share_prior,
        max_pixels=max_pixels,
        depth=depth,
        min_area=min_area,
        fill_holes=fill_holes,
        exact=exact,
        level=level,
    )
    format_options = FormatOptions(
        tolerance=tolerance,
        per=per,
        shape=shape,
        palette=palette,
        opacity=opacity,
        outlines=outlines,
        only=_listed(only),
        doubtful_below=doubtful_below,
    )
    Pages.parse(pages)
    ModelName.parse(model)
    check_machine(device, dtype, threads)
    request = SegmentRequest(
        vocabulary=vocabulary,
        out=out,
        options=options,
        formats=_listed(formats),
        format_options=format_options,
        resume=resume,
        classes_file=classes_file,
        pages=pages,
        bands=bands,
        stretch=stretch,
        smooth=smooth,
        keyframes=keyframes,
        model=model,
        device=device,
        dtype=dtype,
        threads=threads,
        calibration=calibration,
        workforce=workforce_from_options(engine, address, workers, threads, device),
        as_json=as_json,
    )
    kind = "film" if frames else kind
    _segment(request, sources, kind, recursive=recursive, limit=limit)


def _segment(
    request: "SegmentRequest",
    sources: Sequence[str],
    kind: str,
    *,
    recursive: bool,
    limit: int | None,
) -> None:
    """Find out what the sources are, and segment them as that."""
    from escnet.bulk.places import address_of
    from escnet.data.source_kinds import common_kind, kind_of
    from escnet.errors import ConfigError

    if request.workforce is None:
        _refuse_buckets(request, sources)
        if kind == "auto" and any(kind_of(source) == "film" for source in sources):
            kind = common_kind(sources)  # refuses a film beside something else
        if kind == "film":
            from escnet.cli.segment_films import segment_films

            segment_films(request, sources, limit=limit)
            return
        pictures = pictures_from_sources(sources, recursive=recursive)[:limit]
        kind = common_kind(pictures, kind)
    else:
        pictures = find_anywhere(sources, recursive=recursive)[:limit]
        kind = common_kind([path for path in pictures if address_of(path) is None], kind)
        if kind != "picture":
            raise ConfigError(
                f"the sources are {kind}s, which one process segments: leave --engine ray out, or "
                "say --as picture"
            )
    if kind == "raster":
        from escnet.cli.segment_rasters import segment_rasters

        segment_rasters(request, pictures)
    else:
        from escnet.cli.segment_pictures import segment_pictures

        segment_pictures(request, pictures)


def _refuse_buckets(request: "SegmentRequest", sources: Sequence[str]) -> None:
    """Refuse what workers alone read and write."""
    from escnet.bulk.places import address_of, is_in_bucket
    from escnet.errors import ConfigError

    for where in (*map(Path, sources), request.out):
        address = address_of(where)
        if address is not None and is_in_bucket(address):
            raise ConfigError(f"{address} is not on a disk of this machine: add --engine ray")
    if "parquet" in request.formats:
        raise ConfigError("format parquet is written by workers: add --engine ray")


def _listed(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
