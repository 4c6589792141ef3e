"""`escnet segment` of pictures: the job, and what is said of it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from escnet.cli.segment_request import SegmentRequest, counted, print_json, print_table

if TYPE_CHECKING:
    from escnet.bulk.segment_job import BulkSegmentJob
    from escnet.data.pages import Pages
    from escnet.inference.jobs.segment_job import JobReport, PictureReport, SegmentJob
    from escnet.inference.options import SegmentOptions


def segment_pictures(request: SegmentRequest, pictures: "Sequence[Path]") -> None:
    """Segment pictures and tell of them.

    Args:
        request: What is asked for.
        pictures: Their files.

    Raises:
        EscnetError: If nothing can be done, or the only picture fails.
        Exit: If some of several pictures fail.
    """
    from escnet.cli.progress import progress_display
    from escnet.data.pages import Pages
    from escnet.errors import ImageError

    pages = Pages.parse(request.pages)
    job = _planned(request, pictures, pages)
    if not job.outputs:
        raise ImageError(f"no picture has one of the pages {request.pages}: give --pages all")
    if without := len(pictures) - len({output.picture for output in job.outputs}):
        files = counted(without, "file has", "files have")
        print(
            f"escnet: {files} none of the pages {request.pages}, so nothing of them is read",
            file=sys.stderr,
        )
    if request.workforce is None:
        _refuse_lone_bad_picture(pictures, request.options)
    segmenter = request.load()
    with progress_display(len(job.outputs)) as on_progress:
        report = job.run(segmenter, on_progress)
    _raise_if_lone_failure(report)
    _tell_of_pages(report, pages)
    if request.as_json:
        _print_json(report, segmenter.model, segmenter.weights_hash)
    else:
        _print_summary(report, request.out)
    if report.failures:
        raise typer.Exit(1)


def _planned(
    request: SegmentRequest, pictures: "Sequence[Path]", pages: "Pages"
) -> "SegmentJob | BulkSegmentJob":
    """The job, for this process or for workers."""
    choices: dict[str, Any] = {
        "out": request.out,
        "options": request.options,
        "formats": request.formats,
        "format_options": request.format_options,
        "resume": request.resume,
        "classes_file": request.classes_file,
        "pages": pages,
    }
    if request.workforce is None:
        from escnet.inference.jobs.segment_job import SegmentJob

        return SegmentJob.plan(pictures, request.vocabulary, **choices)
    from escnet.bulk.segment_job import BulkSegmentJob

    return BulkSegmentJob.plan(pictures, request.vocabulary, workforce=request.workforce, **choices)


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
    from escnet.files import display_path

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
        f"escnet: {display_path(picture)} has {counted(number, 'page or frame', 'pages or frames')}"
    )
    others = len(told) - 1
    if is_first:
        more = f", and {counted(others, 'further file has', 'further files have')} several"
        said += f"{more if others else ''}: the first was read; --pages all reads every one"
    else:
        more = f"; {counted(others, 'further file lacks', 'further files lack')} some, too"
        said += f", so {pages.beyond(number)} of --pages cannot be read{more if others else ''}"
    print(said, file=sys.stderr)


def _print_json(report: "JobReport", model: str, weights_hash: str) -> None:
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
    print_json(document)


def _entry(picture: "PictureReport") -> dict[str, Any]:
    return {
        "picture": str(picture.picture),
        "status": picture.status,
        "outputs": {kind: str(path) for kind, path in picture.outputs.items()},
        **picture.summary,
    }


def _print_summary(report: "JobReport", out: Path) -> None:
    from escnet.bulk.places import address_of
    from escnet.files import display_path

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
    print(f"{line}; results in {display_path(address_of(out) or out)}")
    _print_whole_files(report)
    for failure in report.failures:
        if failure.cause is not None:
            print(f"  {failure.cause.for_command_line()}")


def _print_whole_files(report: "JobReport") -> None:
    from escnet.files import display_path

    for paths in report.whole_files.values():
        for path in paths:
            print(display_path(path))


def _print_table(picture: "PictureReport") -> None:
    from escnet.files import display_path

    print(
        f"{display_path(picture.picture)}: {picture.summary['width']} x {picture.summary['height']}"
        f" pixels{', already finished' if picture.status == 'skipped' else ''}"
    )
    print_table(picture.summary)
    for path in picture.outputs.values():
        print(display_path(path))
