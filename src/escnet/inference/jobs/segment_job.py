"""Many pictures to files: reading ahead and writing beside the computing, one failure at a time.

A picture that cannot be read or segmented, or whose result cannot have its name, is a failure and
stops nothing; failures are listed in failures.json in the output folder. The file is removed when a
later job there has none; a job of one picture has no list and leaves it alone. A result that cannot
be written for another reason, such as a full disk, stops the job, as the next ones could not be
written either; what failed until then is listed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from escnet.annotations.format import FormatOptions
from escnet.annotations.georeference import read_georeference
from escnet.annotations.json_text import to_marked_json
from escnet.annotations.registry import DEFAULT_FORMATS, check_formats, write_whole_files
from escnet.annotations.top_names import NUM_NAMES
from escnet.data.image import ReadPicture, num_pages_of
from escnet.data.pages import Pages
from escnet.data.picture_file import PictureFile, PictureSource
from escnet.errors import ConfigError, EscnetError, OutputError
from escnet.files import is_of_one_name, is_ours, make_folder, write_file
from escnet.inference.jobs.outputs import (
    FAILURES_FILE,
    PlannedOutput,
    briefly,
    check_outputs,
    clean_up,
    making_of,
    plan_outputs,
)
from escnet.inference.jobs.parts import plain
from escnet.inference.jobs.stores import FilePictures, FileResults, PictureStore, ResultStore
from escnet.inference.options import SegmentOptions
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

JOB_FORMAT = 1  # of JSON about a whole job; one that is to be read otherwise has a higher number

_NUM_READERS = 2  # decoding keeps up with the network on one thread; the second hides slow disks
_NUM_WRITERS = 2
_MOST_AHEAD = 4  # pictures read and not yet taken
_MOST_AHEAD_PIXELS = 48_000_000  # of them together, at 3 bytes a pixel
_MOST_WAITING_PIXELS = 48_000_000  # results not yet written, at about 8 bytes a pixel


@runtime_checkable
class PictureSegmenter(Protocol):
    """What a job asks of a segmenter; `Segmenter` is one."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def weights_hash(self) -> str:
        """Digest of the model's weights."""

    def result_settings(
        self, vocabulary: Vocabulary, options: SegmentOptions
    ) -> Mapping[str, object]:
        """Everything else that moves a pixel, as plain values; what results are going to say."""

    def segment_pixels(
        self, pixels: UInt8[np.ndarray, "H W 3"], vocabulary: Vocabulary, options: SegmentOptions
    ) -> Segmentation:
        """The result for a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReport:
    """What became of one picture.

    Attributes:
        picture: The file it was read from, or its address.
        status: "written", "skipped" (finished by an earlier job), or "failed".
        outputs: The file of each format; empty for a failure.
        summary: Size, void, and the names that have pixels, as STEM.json has them; empty for a
            failure.
        cause: Why it failed; None otherwise.
    """

    picture: Path | str
    status: Literal["written", "skipped", "failed"]
    outputs: Mapping[str, Path | str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    cause: EscnetError | None = None

    @property
    def error(self) -> str:
        """Why it failed, as text; empty otherwise."""
        return "" if self.cause is None else str(self.cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What became of a job.

    Attributes:
        pictures: What became of each, in the order in which they were given.
        whole_files: The files about all pictures, of each format that has some.
    """

    pictures: tuple[PictureReport, ...]
    whole_files: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[PictureReport, ...]:
        """The pictures without a result."""
        return tuple(report for report in self.pictures if report.status == "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentJob:
    """Pictures to segment, with everything decided but the model; `SegmentJob.plan` makes one.

    Attributes:
        outputs: Each picture, and where its results go.
        vocabulary: The class names.
        out: The output folder.
        options: How pictures are segmented.
        formats: What is written for each picture, and for all of them.
        format_options: How it is written.
        resume: Skip the pictures whose files of all formats are complete and come from a picture
            file of the same name and content, and the same model, weights, names, and settings;
            files about all pictures are made anew, and hold those as well.
            STEM.json tells, so "json" must be among the formats.
    """

    outputs: tuple[PlannedOutput, ...]
    vocabulary: Vocabulary
    out: Path
    options: SegmentOptions
    formats: tuple[str, ...]
    format_options: FormatOptions
    resume: bool

    @classmethod
    def plan(
        cls,
        paths: Iterable[str | Path],
        vocabulary: Vocabulary,
        *,
        out: str | Path,
        options: SegmentOptions = SegmentOptions(),  # noqa: B008 -- frozen
        formats: Iterable[str] = DEFAULT_FORMATS,
        format_options: FormatOptions = FormatOptions(),  # noqa: B008 -- frozen
        resume: bool = False,
        classes_file: Path | None = None,
        pages: Pages = Pages(),  # noqa: B008 -- frozen
    ) -> "SegmentJob":
        """A job of which everything that needs no model has been checked.

        Args:
            paths: Picture files.
            vocabulary: The class names.
            out: The output folder; created if it does not exist.
            options: How pictures are segmented.
            formats: Some of `escnet.annotations.registry.FORMATS`.
            format_options: How they are written.
            resume: See the class.
            classes_file: The file that the class names came from, which nothing may replace.
            pages: Which pages of a TIFF, or frames of a GIF, are pictures of the job.

        Raises:
            ConfigError: If a format is unknown or cannot hold the names, or there is nothing to
                resume by.
            OutputError: If something that is no result would be replaced, or the folder cannot be
                written.
        """
        names = vocabulary.names_at(options.level)
        formats = check_formats(formats, names)
        if "top3" in formats:
            options = replace(options, top=max(options.top, NUM_NAMES))
        if "scores" in formats:
            options = replace(options, scores=True)
        format_options.check_only(names)
        format_options = format_options.with_colours(vocabulary.colours)
        if resume and "json" not in formats:
            raise ConfigError(
                "resuming needs STEM.json, which says what is finished, but json is not among the "
                f"formats {', '.join(formats)}: add it"
            )
        outputs = plan_outputs(paths, out, lambda path: _pages_of(path, pages, options))
        check_outputs(outputs, out, formats, classes_file=classes_file)
        return cls(
            outputs=tuple(outputs),
            vocabulary=vocabulary,
            out=make_folder(out),
            options=options,
            formats=formats,
            format_options=format_options,
            resume=resume,
        )

    def run(
        self,
        segmenter: PictureSegmenter,
        on_progress: Callable[[PictureReport], None] | None = None,
    ) -> JobReport:
        """Segment the pictures and write the results.

        Memory does not grow with the number of pictures: a few are read ahead, and computing waits
        when results come faster than they can be written. Very large pictures are read, segmented
        and written one after the other. Interrupted, the job leaves what is finished, and no half
        file.

        Args:
            segmenter: Makes the results.
            on_progress: Called in this thread once for each picture as soon as its fate is known.

        Raises:
            ConfigError: If the segmenter cannot do what the options ask.
            OutputError: If results cannot be written.
        """
        work = _Work(self, segmenter, on_progress)
        is_listed = len(self.outputs) > 1
        clean_up(self.outputs, self.formats)
        try:
            work.run()
            work.write_whole_files()
        except OutputError:
            if is_listed and (failures := work.failures()):
                with suppress(OutputError):  # the disk may be full, which has been said already
                    _write_failures(self.out / FAILURES_FILE, failures)
            raise
        if is_listed:
            _write_failures(self.out / FAILURES_FILE, work.failures())
        return JobReport(
            pictures=tuple(work.reports[output] for output in self.outputs),
            whole_files=work.whole_files,
        )

    def run_part(
        self, segmenter: PictureSegmenter, pictures: PictureStore, results: ResultStore
    ) -> list[PictureReport]:
        """Segment the pictures as one part of a larger job, which lists failures for all parts.

        Args:
            segmenter: Makes the results.
            pictures: Where the pictures are.
            results: Where the results go.

        Raises:
            ConfigError: If the segmenter cannot do what the options ask.
            OutputError: If results cannot be written.
        """
        work = _Work(self, segmenter, None, pictures, results)
        work.run()
        return [work.reports[output] for output in self.outputs]


def _pages_of(path: Path, pages: Pages, options: SegmentOptions) -> list[int]:
    """The pages that are wanted of a file; of a damaged one the first, to tell what is wrong."""
    if pages == Pages():
        return [1]  # without a look at the file
    try:
        num_pages = num_pages_of(path, max_pixels=options.max_pixels)
    except EscnetError:
        return [1]
    return pages.of(num_pages)


def failures_json(failures: Sequence[PictureReport]) -> bytes:
    """The content of a job's failures.json."""
    listed = [{"picture": str(r.picture), "error": r.error} for r in failures]
    return to_marked_json({"format": JOB_FORMAT, "failures": listed})


def _write_failures(path: Path, failures: Sequence[PictureReport]) -> None:
    if failures:
        write_file(path, failures_json(failures))
    elif is_ours(path):
        with suppress(OSError):
            path.unlink()


class _SourcedPicture(NamedTuple):
    read: ReadPicture
    source: PictureSource


class _Work:
    """A job under way."""

    def __init__(
        self,
        job: SegmentJob,
        segmenter: PictureSegmenter,
        on_progress: Callable[[PictureReport], None] | None,
        pictures: PictureStore | None = None,
        results: ResultStore | None = None,
    ) -> None:
        self.reports: dict[PlannedOutput, PictureReport] = {}
        self.whole_files: Mapping[str, Sequence[Path]] = {}
        self._job = job
        self._segmenter = segmenter
        self._on_progress = on_progress
        self._pictures = pictures or FilePictures(job.options.max_pixels)
        self._results = results or FileResults(job.formats, job.format_options)
        settings = segmenter.result_settings(job.vocabulary, job.options)
        self._making = (
            list(job.vocabulary.names_at(job.options.level)),
            segmenter.model,
            segmenter.weights_hash,
            plain(settings),  # as a STEM.json holds them
            plain(job.format_options.as_settings()),
        )

    def failures(self) -> list[PictureReport]:
        """Those of which it is known already, in the order of the job."""
        known = [self.reports[o] for o in self._job.outputs if o in self.reports]
        return [report for report in known if report.status == "failed"]

    def run(self) -> None:
        """Add each picture's report as soon as there is one."""
        with ExitStack() as stack:
            readers = stack.enter_context(_pool(_NUM_READERS, "read"))
            writers = stack.enter_context(_pool(_NUM_WRITERS, "write"))
            writing = _Writing(writers, self._write, self._note)
            for output, read in self._ahead(readers):
                if isinstance(read, PictureReport):
                    self._note(output, read)
                    continue
                result = self._segment(output, read)
                if isinstance(result, PictureReport):
                    self._note(output, result)
                    continue
                writing.add(output, result)
                if not self.reports:  # so that the first is told of before the second is made
                    writing.finish()
            writing.finish()

    def write_whole_files(self) -> None:
        """Write what is about all pictures that are finished, those of earlier jobs included."""
        finished = [o for o in self._job.outputs if self.reports[o].status != "failed"]
        self.whole_files = write_whole_files(
            self._job.out,
            self._job.vocabulary.names_at(self._job.options.level),
            [output.place for output in finished],
            self._job.formats,
            self._job.format_options,
        )

    def _note(self, output: PlannedOutput, report: PictureReport) -> None:
        self.reports[output] = report
        if self._on_progress is not None:
            self._on_progress(report)

    def _ahead(
        self, readers: ThreadPoolExecutor
    ) -> Iterator[tuple[PlannedOutput, PictureReport | _SourcedPicture]]:
        """What `_read` gives for each, with a few read and not yet taken; bad ones come early."""
        reading: deque[tuple[PlannedOutput, PictureFile, Future[Any]]] = deque()
        try:
            for output in self._job.outputs:
                try:
                    file = self._pictures.open(output)
                except EscnetError as error:
                    yield output, _failed(output, error)
                    continue
                while reading and (
                    len(reading) >= _MOST_AHEAD
                    or sum(ahead.num_pixels for _, ahead, _ in reading) + file.num_pixels
                    > _MOST_AHEAD_PIXELS
                ):
                    first, _, future = reading.popleft()
                    yield first, future.result()
                reading.append((output, file, readers.submit(self._read, output, file)))
            while reading:
                first, _, future = reading.popleft()
                yield first, future.result()
        finally:  # the job was left, by an error or Ctrl-C
            for _, file, _ in reading:
                file.close()

    def _read(self, output: PlannedOutput, file: PictureFile) -> PictureReport | _SourcedPicture:
        """The picture, or what is to be said of it already."""
        with file:
            try:
                source = file.source
                if self._job.resume and (report := self._finished(output, source)) is not None:
                    return report
                depth = self._job.options.depth
                return _SourcedPicture(file.read(page=output.page, depth=depth), source)
            except EscnetError as error:
                return _failed(output, error)

    def _finished(self, output: PlannedOutput, source: PictureSource) -> PictureReport | None:
        """The report of a picture that an equal job has finished."""
        finished = self._results.finished(output, source)
        if finished is None or making_of(finished.summary) != self._making:
            return None
        return PictureReport(
            picture=output.picture,
            status="skipped",
            outputs=finished.files,
            summary=briefly(finished.summary),
        )

    def _segment(
        self, output: PlannedOutput, sourced: _SourcedPicture
    ) -> Segmentation | PictureReport:
        pixels = sourced.read.pixels
        try:
            result = self._segmenter.segment_pixels(pixels, self._job.vocabulary, self._job.options)
        except EscnetError as error:
            return _failed(output, error)
        where = read_georeference(output.picture) if "geojson" in self._job.formats else None
        return replace(
            result,
            picture=pixels,
            source=sourced.source._asdict(),
            reading=sourced.read.as_settings(),
            georeference=where,
        )

    def _write(self, output: PlannedOutput, result: Segmentation) -> PictureReport:
        try:
            outputs = self._results.write(output, result)
        except OutputError as error:
            if is_of_one_name(error):
                return _failed(output, error)
            raise
        return PictureReport(
            picture=output.picture,
            status="written",
            outputs=outputs,
            summary=briefly(result.summary()),
        )


class _Writing:
    """Results on their way to the disk, few enough to fit into memory."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        write: Callable[[PlannedOutput, Segmentation], PictureReport],
        note: Callable[[PlannedOutput, PictureReport], None],
    ) -> None:
        self._pool = pool
        self._write = write
        self._note = note
        self._waiting: deque[tuple[PlannedOutput, int, Future[PictureReport]]] = deque()

    def add(self, output: PlannedOutput, result: Segmentation) -> None:
        future = self._pool.submit(self._write, output, result)
        self._waiting.append((output, result.label_map.size, future))
        while self._waiting and (
            self._waiting[0][2].done()
            or sum(size for _, size, _ in self._waiting) > _MOST_WAITING_PIXELS
        ):
            self._note_oldest()

    def finish(self) -> None:
        while self._waiting:
            self._note_oldest()

    def _note_oldest(self) -> None:
        output, _, future = self._waiting.popleft()
        self._note(output, future.result())


def _pool(num_threads: int, purpose: str) -> "_StoppingPool":
    return _StoppingPool(num_threads, thread_name_prefix=f"escnet-{purpose}")


class _StoppingPool(ThreadPoolExecutor):
    """Threads that, when the job is left by an error or Ctrl-C, start nothing that is waiting."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def _failed(output: PlannedOutput, error: EscnetError) -> PictureReport:
    return PictureReport(picture=output.picture, status="failed", cause=error)
