"""`escnet segment`: pictures and names in, label maps out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from escnet.cli.options import (
    AsJson,
    Background,
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
    vocabulary_from_options,
    windows_from_options,
    without_results,
)
from escnet.data.limits import MAX_PIXELS

if TYPE_CHECKING:
    from escnet.data.pages import Pages
    from escnet.inference.jobs.segment_job import JobReport, PictureReport
    from escnet.inference.options import SegmentOptions

_FORMATS = "Formats (docs: Results in other programs)"


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
            "top3, csv, contact-sheet, json.",
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
            help="The confidence below which csv and contact-sheet call a pixel doubtful.",
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
    model: Model = "mini",
    share_prior: SharePrior = None,
    exact: Exact = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
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
    from escnet.cli.progress import shown_progress
    from escnet.data.pages import Pages
    from escnet.data.picture_search import find_pictures
    from escnet.errors import ImageError
    from escnet.inference.jobs.segment_job import SegmentJob
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
    chosen_pages = Pages.parse(pages)
    ModelName.parse(model)
    check_machine(device, dtype, threads)
    search = find_pictures(sources, recursive=recursive)
    pictures = without_results(search.paths, sources)[:limit]
    for line in search.remarks():
        print(f"escnet: {line}", file=sys.stderr)
    job = SegmentJob.plan(
        pictures,
        vocabulary,
        out=out,
        options=options,
        formats=_listed(formats),
        format_options=format_options,
        resume=resume,
        classes_file=classes_file,
        pages=chosen_pages,
    )
    if not job.outputs:
        raise ImageError(f"no picture has one of the pages {pages}: give --pages all")
    if without := len(pictures) - len({output.picture for output in job.outputs}):
        files = _counted(without, "file has", "files have")
        print(
            f"escnet: {files} none of the pages {pages}, so nothing of them is read",
            file=sys.stderr,
        )
    _refuse_lone_bad_picture(pictures, options)

    from escnet.inference.segmenter import Segmenter

    segmenter = Segmenter.load(model, device=device, dtype=dtype, threads=threads)
    with shown_progress(len(job.outputs)) as on_progress:
        report = job.run(segmenter, on_progress)
    _raise_if_lone_failure(report)
    _tell_of_pages(report, chosen_pages)
    if as_json:
        _print_json(report, segmenter.model, segmenter.weights_hash)
    else:
        _print_summary(report, out)
    if report.failures:
        raise typer.Exit(1)


def _listed(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _refuse_lone_bad_picture(pictures: "Sequence[Path]", options: "SegmentOptions") -> None:
    """Of a single picture look at the header at once: loading the model takes seconds."""
    from escnet.data.picture_file import PictureFile

    if len(pictures) == 1:
        PictureFile(pictures[0], max_pixels=options.max_pixels).close()


def _raise_if_lone_failure(report: "JobReport") -> None:
    """One picture alone is the whole command, so its error is the command's."""
    if len(report.pictures) == 1:
        for failure in report.failures:
            if failure.cause is not None:
                raise failure.cause


def _tell_of_pages(report: "JobReport", pages: "Pages") -> None:
    """Say of how many pictures only the first page was read, or that they lack some asked for."""
    from escnet.data.pages import Pages
    from escnet.files import shown_path

    numbers = {
        one.picture: one.summary["reading"]["pages"] for one in report.pictures if one.summary
    }
    is_first = pages == Pages()
    told = [
        (picture, number)
        for picture, number in numbers.items()
        if (number > 1 if is_first else pages.beyond(number))
    ]
    if not told:
        return
    picture, number = told[0]
    said = (
        f"escnet: {shown_path(picture)} has {_counted(number, 'page or frame', 'pages or frames')}"
    )
    others = len(told) - 1
    if is_first:
        more = f", and {_counted(others, 'further file has', 'further files have')} several"
        said += f"{more if others else ''}: the first was read; --pages all reads every one"
    else:
        more = f"; {_counted(others, 'further file lacks', 'further files lack')} some, too"
        said += f", so {pages.beyond(number)} of --pages cannot be read{more if others else ''}"
    print(said, file=sys.stderr)


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _print_json(report: "JobReport", model: str, weights_hash: str) -> None:
    from escnet.annotations.json_text import to_json
    from escnet.inference.jobs.segment_job import JOB_FORMAT

    document = {
        "format": JOB_FORMAT,
        "model": model,
        "weights_hash": weights_hash,
        "outputs": {
            kind: [str(path) for path in paths] for kind, paths in report.whole_files.items()
        },
        "pictures": [_entry(picture) for picture in report.pictures if picture.status != "failed"],
        "failures": [{"picture": str(f.picture), "error": f.error} for f in report.failures],
    }
    sys.stdout.write(to_json(document).decode("utf-8"))


def _entry(picture: "PictureReport") -> dict[str, Any]:
    return {
        "picture": str(picture.picture),
        "status": picture.status,
        "outputs": {kind: str(path) for kind, path in picture.outputs.items()},
        **picture.summary,
    }


def _print_summary(report: "JobReport", out: Path) -> None:
    from escnet.files import shown_path

    if len(report.pictures) == 1:
        _print_table(report.pictures[0])
        _print_whole_files(report)
        return
    counts = dict.fromkeys(("written", "skipped", "failed"), 0)
    for picture in report.pictures:
        counts[picture.status] += 1
    line = f"{counts['written']} of {len(report.pictures)} pictures segmented"
    line += f", {counts['skipped']} already finished" if counts["skipped"] else ""
    line += f", {counts['failed']} failed" if counts["failed"] else ""
    print(f"{line}; results in {shown_path(out)}")
    _print_whole_files(report)
    for failure in report.failures:
        if failure.cause is not None:
            print(f"  {failure.cause.for_command_line()}")


def _print_whole_files(report: "JobReport") -> None:
    from escnet.files import shown_path

    for paths in report.whole_files.values():
        for path in paths:
            print(shown_path(path))


def _print_table(picture: "PictureReport") -> None:
    from escnet.files import shown_path

    names = picture.summary["names"]
    width = max((len(entry["name"]) for entry in names), default=0)
    print(
        f"{shown_path(picture.picture)}: {picture.summary['width']} x {picture.summary['height']}"
        f" pixels{', already finished' if picture.status == 'skipped' else ''}"
    )
    for entry in names:
        confidence = f"confidence {entry['mean_confidence']:.2f}"
        print(f"  {entry['name']:{width}}  {entry['share']:6.1%}  {confidence}")
    if picture.summary["void"]["share"]:
        print(f"  {'(unlabelled)':{width}}  {picture.summary['void']['share']:6.1%}")
    for path in picture.outputs.values():
        print(shown_path(path))
