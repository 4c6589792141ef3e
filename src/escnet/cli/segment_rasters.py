"""`escnet segment` of rasters: one after the other, each chunk by chunk."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from escnet.cli.segment_request import (
    Failures,
    SegmentRequest,
    counted,
    print_documents,
    print_whole,
)

if TYPE_CHECKING:
    from escnet.rasters.job import RasterJob, RasterReport


def segment_rasters(request: SegmentRequest, paths: Sequence[Path]) -> None:
    """Segment rasters and tell of them.

    Args:
        request: What is asked for.
        paths: Their files.

    Raises:
        EscnetError: If nothing can be done, or the only raster fails.
        Exit: If some of several rasters fail.
    """
    from escnet.cli.progress import PicturePace, progress_display

    jobs = _jobs(request, paths)
    failures = Failures(len(jobs))
    num_chunks: dict[Path, int] = {}
    for job in jobs:
        with failures.noted(job.path):
            num_chunks[job.path] = job.check()
    reports: list[RasterReport] = []
    segmenter = request.load()
    pace = PicturePace(sum(num_chunks.values()), noun="parts")
    with progress_display(pace.total, pace) as on_progress:
        for job in jobs:
            if job.path not in num_chunks:
                continue
            with failures.noted(job.path):
                reports.append(job.run(segmenter, on_progress))
    _tell(request, reports, failures)
    if failures.errors:
        raise typer.Exit(1)


def _jobs(request: SegmentRequest, paths: Sequence[Path]) -> "list[RasterJob]":
    from escnet.inference.jobs.outputs import plan_outputs
    from escnet.rasters.job import RasterJob
    from escnet.rasters.stretch import Stretch

    return [
        RasterJob(
            path=output.picture,
            vocabulary=request.vocabulary,
            out=output.out / output.place.below,
            stem=output.place.stem,
            options=request.options,
            formats=request.formats,
            format_options=request.format_options.with_colours(request.vocabulary.colours),
            bands=_bands(request.bands),
            stretch=Stretch.parse(request.stretch) if request.stretch else None,
            resume=request.resume,
        )
        for output in plan_outputs(paths, request.out)
    ]


def _bands(text: str) -> tuple[int, ...]:
    """The numbers of --bands.

    Raises:
        ConfigError: If they are none.
    """
    from escnet.errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"--bands {text!r} are no numbers of bands: give such as 4,3,2") from None


def _tell(request: SegmentRequest, reports: "Sequence[RasterReport]", failures: Failures) -> None:
    from escnet.files import display_path

    if request.as_json:
        print_documents("raster", reports, failures)
        return
    for report in reports:
        size = f"{report.summary['width']} x {report.summary['height']} pixels"
        print_whole(f"{display_path(report.raster)}: {size}", report)
    if failures.errors:
        print(f"{counted(len(failures.errors), 'raster', 'rasters')} failed")
    for _, error in failures.errors:
        print(f"  {error.for_command_line()}")
