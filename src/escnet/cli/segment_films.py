"""`escnet segment` of films: one after the other, frame by frame."""

import sys
from collections.abc import Sequence
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
    from escnet.video.job import FilmJob, FilmReport


def segment_films(request: SegmentRequest, sources: Sequence[str], *, limit: int | None) -> None:
    """Segment films and tell of them.

    Args:
        request: What is asked for.
        sources: Files, addresses, cameras, or folders of frames.
        limit: Only so many frames of each.

    Raises:
        EscnetError: If nothing can be done, or the only film fails.
        Exit: If some of several films fail, or one broke off.
    """
    from escnet.cli.progress import PicturePace, progress_display

    jobs = _jobs(request, sources, limit)
    failures = Failures(len(jobs))
    good: list[tuple[FilmJob, int]] = []
    for job in jobs:
        with failures.noted(job.film.source):
            good.append((job, job.check()))
    segmenter = request.load()
    reports: list[FilmReport] = []
    for job, num_frames in good:
        pace = PicturePace(num_frames, noun="frames")
        with progress_display(num_frames, pace) as on_progress, failures.noted(job.film.source):
            reports.append(job.run(segmenter, on_progress))
    _tell(request, reports, failures)
    if failures.errors or any(report.fault for report in reports):
        raise typer.Exit(1)


def _jobs(request: SegmentRequest, sources: Sequence[str], limit: int | None) -> "list[FilmJob]":
    from escnet.errors import ConfigError
    from escnet.video.job import FilmJob
    from escnet.video.smoothing import USUAL_STRENGTH
    from escnet.video.source import Film

    jobs = [
        FilmJob(
            film=Film(source, max_pixels=request.options.max_pixels),
            vocabulary=request.vocabulary,
            out=request.out,
            options=request.options,
            formats=request.formats,
            format_options=request.format_options.with_colours(request.vocabulary.colours),
            smooth=USUAL_STRENGTH if request.smooth is None else request.smooth,
            keyframes=request.keyframes,
            limit=limit,
            resume=request.resume,
        )
        for source in sources
    ]
    folders = [str(job.folder).casefold() for job in jobs]
    if len(set(folders)) < len(folders):
        twice = next(job for job in jobs if folders.count(str(job.folder).casefold()) > 1)
        raise ConfigError(
            f"two films would both be written to {twice.folder}: segment them one by one with "
            "--out folders of their own"
        )
    return jobs


def _tell(request: SegmentRequest, reports: "Sequence[FilmReport]", failures: Failures) -> None:
    from escnet.files import display_path

    if request.as_json:
        print_documents("film", reports, failures)
    else:
        for report in reports:
            frames = counted(report.summary["frames"], "frame", "frames")
            seconds = f"{report.summary['seconds']:.1f} s"
            print_whole(f"{display_path(report.film)}: {frames}, {seconds}", report)
        for _, error in failures.errors:
            print(f"  {error.for_command_line()}")
    for report in reports:
        if report.fault:
            print(
                f"escnet: {display_path(report.film)} is damaged or broke off ({report.fault}): "
                f"what could be read, {counted(report.summary['frames'], 'frame', 'frames')}, is "
                "there",
                file=sys.stderr,
            )
