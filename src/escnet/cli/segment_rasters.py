"""`escnet segment` of rasters: one after the other, each chunk by chunk."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from escnet.cli.segment_request import SegmentRequest, counted, print_json, print_table

if TYPE_CHECKING:
    from escnet.errors import EscnetError
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
    from escnet.errors import EscnetError, OutputError

    jobs = _jobs(request, paths)
    failures: list[tuple[Path, EscnetError]] = []
    num_chunks: dict[Path, int] = {}
    for job in jobs:
        try:
            num_chunks[job.path] = job.check()
        except OutputError:
            raise
        except EscnetError as error:
            _fail(job.path, error, failures, is_alone=len(jobs) == 1)
    reports: list[RasterReport] = []
    segmenter = request.load()
    pace = PicturePace(sum(num_chunks.values()), noun="parts")
    with progress_display(pace.total, pace) as on_progress:
        for job in jobs:
            if job.path not in num_chunks:
                continue
            try:
                reports.append(job.run(segmenter, on_progress))
            except OutputError:
                raise
            except EscnetError as error:
                _fail(job.path, error, failures, is_alone=len(jobs) == 1)
    _tell(request, reports, failures)
    if failures:
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


def _fail(
    path: Path,
    error: "EscnetError",
    failures: "list[tuple[Path, EscnetError]]",
    *,
    is_alone: bool,
) -> None:
    """Note a failure; one raster alone is the whole command, so its error is the command's."""
    if is_alone:
        raise error
    failures.append((path, error))


def _tell(
    request: SegmentRequest,
    reports: "Sequence[RasterReport]",
    failures: "Sequence[tuple[Path, EscnetError]]",
) -> None:
    from escnet.files import shown_path

    if request.as_json:
        print_json(
            {
                "format": 1,
                "rasters": [
                    {
                        "raster": str(report.raster),
                        "status": report.status,
                        "outputs": {kind: str(path) for kind, path in report.outputs.items()},
                        **report.summary,
                    }
                    for report in reports
                ],
                "failures": [
                    {"raster": str(path), "error": str(error)} for path, error in failures
                ],
            }
        )
        return
    for report in reports:
        size = f"{report.summary['width']} x {report.summary['height']} pixels"
        done = ", already finished" if report.status == "skipped" else ""
        print(f"{shown_path(report.raster)}: {size}{done}")
        print_table(report.summary)
        for path in report.outputs.values():
            print(shown_path(path))
    if failures:
        print(f"{counted(len(failures), 'raster', 'rasters')} failed")
    for _, error in failures:
        print(f"  {error.for_command_line()}")
