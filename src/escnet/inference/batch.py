"""Many pictures to files: reading ahead and writing beside the computing, one failure at a time.

A picture that cannot be read or segmented, or whose result cannot have its name, is a failure and
stops nothing; failures are listed in failures.json in the output folder. The file is removed when a
later job there has none; a job of one picture has no list and leaves it alone. A result that cannot
be written for another reason, such as a full disk, stops the job, as the next ones could not be
written either; what failed until then is listed.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from escnet.data.image import MAX_PIXELS, open_image, read_image
from escnet.errors import ConfigError, EscnetError, OutputError
from escnet.files import is_of_one_name, is_ours, make_folder, write_file
from escnet.inference.outputs import (
    FAILURES_FILE,
    PlannedOutput,
    briefly,
    check_outputs,
    clean_up,
    finished_summary,
    made_by,
    plan_outputs,
    source_of,
)
from escnet.inference.windows import Windows
from escnet.segmentation import (
    FORMATS,
    Segmentation,
    check_formats,
    to_json,
    to_marked_json,
)
from escnet.vocabulary import Vocabulary

_NUM_READERS = 2  # decoding keeps up with the network on one thread; the second hides slow disks
_NUM_WRITERS = 2
_MOST_BATCH_PIXELS = 16_000_000  # a batch of larger pictures is cut short, or memory would run out
_MOST_AHEAD_PIXELS = 48_000_000  # read and not yet taken, at 3 bytes a pixel
_MOST_WAITING_PIXELS = 48_000_000  # results not yet written, at about 8 bytes a pixel


@runtime_checkable
class PictureSegmenter(Protocol):
    """What a folder job asks of a segmenter; `Segmenter` is one."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def weights_hash(self) -> str:
        """Digest of the model's weights."""

    def result_settings(
        self, vocabulary: Vocabulary, *, void_below: float, windows: Windows | None
    ) -> Mapping[str, object]:
        """Everything else that moves a pixel, as plain values; what results are going to say."""

    def segment_batch(
        self,
        pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        names: Vocabulary,
        /,
        *,
        void_below: float,
        background: bool,
        windows: Windows | None,
    ) -> list[Segmentation]:
        """One result for each picture."""


class _ReadPicture(NamedTuple):
    output: PlannedOutput
    pixels: UInt8[np.ndarray, "_ _ 3"]
    source: Mapping[str, object] | None  # what `source_of` says of its file


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReport:
    """What became of one picture.

    Attributes:
        picture: The file it was read from.
        status: "written", "skipped" (finished by an earlier job), or "failed".
        outputs: The file of each format; empty for a failure.
        summary: Size, void, and the names that have pixels, as STEM.json has them; empty for a
            failure.
        error: Why it failed; empty otherwise.
    """

    picture: Path
    status: Literal["written", "skipped", "failed"]
    outputs: Mapping[str, Path] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What became of all pictures of a job, in the order in which they were given."""

    pictures: tuple[PictureReport, ...]

    @property
    def failures(self) -> tuple[PictureReport, ...]:
        """The pictures without a result."""
        return tuple(report for report in self.pictures if report.status == "failed")


def segment_files(  # noqa: PLR0913 -- the settings of `escnet segment`, one argument each
    segmenter: PictureSegmenter,
    paths: Iterable[str | Path],
    vocabulary: Vocabulary,
    *,
    out: str | Path,
    formats: Iterable[str] = tuple(FORMATS),
    resume: bool = False,
    void_below: float = 0.0,
    background: bool = False,
    windows: Windows | None = None,
    max_pixels: int = MAX_PIXELS,
    batch_size: int = 4,
    on_progress: Callable[[PictureReport], None] | None = None,
) -> JobReport:
    """Segment picture files and write the results.

    Memory does not grow with the number of pictures: about one batch is read ahead, and computing
    waits when results come faster than they can be written. Very large pictures are read, segmented
    and written one after the other. Interrupted, the job leaves what is finished, and no half file.

    Args:
        segmenter: Makes the results.
        paths: Picture files.
        vocabulary: The class names.
        out: The output folder; created if it does not exist.
        formats: Some of "labels", "overlay", "json".
        resume: Skip the pictures whose files of all formats are complete and come from a picture
            file of the same name and content, and the same model, weights, names, and settings.
            STEM.json tells, so "json" must be among the formats.
        void_below: Leave pixels whose confidence is below this unlabelled, from 0 to 1.
        background: Add a class that wins where no name does.
        windows: How pictures are cut into windows; None sees each as a whole.
        max_pixels: The largest picture that is read.
        batch_size: Pictures that go through the network together.
        on_progress: Called in this thread once for each picture as soon as its fate is known.

    Raises:
        ConfigError: If a setting is out of range, or a format is unknown.
        OutputError: If something that is no result would be replaced, or results cannot be written.
    """
    formats = check_job(
        formats=formats,
        resume=resume,
        void_below=void_below,
        max_pixels=max_pixels,
        batch_size=batch_size,
    )
    if background and not vocabulary.has_background:
        vocabulary = vocabulary.with_background()
    settings = segmenter.result_settings(vocabulary, void_below=void_below, windows=windows)
    plan = plan_outputs(paths, out)
    check_outputs(plan, out, formats)
    job = _Job(
        segmenter=segmenter,
        vocabulary=vocabulary,
        settings=json.loads(to_json(settings)),
        formats=formats,
        resume=resume,
        void_below=void_below,
        windows=windows,
        max_pixels=max_pixels,
        batch_size=batch_size,
        on_progress=on_progress,
    )
    out = make_folder(out)
    reports: dict[PlannedOutput, PictureReport] = {}
    try:
        job.run(plan, reports)
    except OutputError:
        if len(plan) > 1 and (failures := _failures(plan, reports)):
            with suppress(OutputError):  # the disk may be full, which has been said already
                _write_failures(out / FAILURES_FILE, failures)
        raise
    if len(plan) > 1:
        _write_failures(out / FAILURES_FILE, _failures(plan, reports))
    return JobReport(pictures=tuple(reports[output] for output in plan))


def check_job(
    *,
    formats: Iterable[str],
    resume: bool,
    void_below: float,
    max_pixels: int,
    batch_size: int,
) -> tuple[str, ...]:
    """Check the settings of `segment_files` alone, before a model is loaded for it.

    Returns:
        The formats, each once, in the order in which they are written.

    Raises:
        ConfigError: If a setting is out of range, or a format is unknown.
    """
    formats = check_formats(formats)
    if resume and "json" not in formats:
        raise ConfigError(
            "to resume, STEM.json must tell what is finished, but json is not among the formats "
            f"{', '.join(formats)}: add it"
        )
    if not 0 <= void_below <= 1:
        raise ConfigError(f"void_below {void_below} is not a confidence: choose one from 0 to 1")
    if max_pixels < 1:
        raise ConfigError(f"max_pixels {max_pixels} leaves no picture: choose at least 1")
    if batch_size < 1:
        raise ConfigError(f"batch_size {batch_size} leaves no picture: choose at least 1")
    return formats


def _failures(
    plan: Sequence[PlannedOutput], reports: Mapping[PlannedOutput, PictureReport]
) -> list[PictureReport]:
    """In the order of the plan, those of which it is known already."""
    known = [reports[output] for output in plan if output in reports]
    return [report for report in known if report.status == "failed"]


def _write_failures(path: Path, failures: Sequence[PictureReport]) -> None:
    if failures:
        listed = [{"picture": str(r.picture), "error": r.error} for r in failures]
        write_file(path, to_marked_json({"failures": listed}))
    elif is_ours(path):
        with suppress(OSError):
            path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    segmenter: PictureSegmenter
    vocabulary: Vocabulary
    settings: Mapping[str, Any]  # as a STEM.json holds them
    formats: tuple[str, ...]
    resume: bool
    void_below: float
    windows: Windows | None
    max_pixels: int
    batch_size: int
    on_progress: Callable[[PictureReport], None] | None

    def run(
        self, plan: Sequence[PlannedOutput], reports: dict[PlannedOutput, PictureReport]
    ) -> None:
        """Add each picture's report as soon as there is one."""

        def note(output: PlannedOutput, report: PictureReport) -> None:
            reports[output] = report
            if self.on_progress is not None:
                self.on_progress(report)

        clean_up(plan, self.formats)
        with ExitStack() as stack:
            readers = stack.enter_context(_pool(_NUM_READERS, "read"))
            writing = _Writing(stack.enter_context(_pool(_NUM_WRITERS, "write")), note)
            for batch in self._batches(plan, readers, note):
                for output, result in self._segmented(batch):
                    if isinstance(result, PictureReport):
                        note(output, result)
                    else:
                        writing.add(output, result, self.formats)
            writing.finish()

    def _batches(
        self,
        plan: Sequence[PlannedOutput],
        readers: ThreadPoolExecutor,
        note: Callable[[PlannedOutput, PictureReport], None],
    ) -> Iterator[list[_ReadPicture]]:
        batch: list[_ReadPicture] = []
        num_pixels = 0
        for output, read in self._ahead(plan, readers):
            if isinstance(read, PictureReport):
                note(output, read)
                continue
            size = read.pixels.shape[0] * read.pixels.shape[1]
            if batch and num_pixels + size > _MOST_BATCH_PIXELS:
                yield batch
                batch, num_pixels = [], 0
            batch.append(read)
            num_pixels += size
            if len(batch) == self.batch_size or num_pixels >= _MOST_BATCH_PIXELS:
                yield batch
                batch, num_pixels = [], 0
        if batch:
            yield batch

    def _ahead(
        self, plan: Sequence[PlannedOutput], readers: ThreadPoolExecutor
    ) -> Iterator[tuple[PlannedOutput, PictureReport | _ReadPicture]]:
        """What `_read` gives for each, in order, with about a batch read and not yet taken."""
        reading: deque[tuple[PlannedOutput, int, Future[Any]]] = deque()
        for output in plan:
            size = self._num_pixels(output)
            while reading and (
                len(reading) > self.batch_size
                or sum(pixels for _, pixels, _ in reading) + size > _MOST_AHEAD_PIXELS
            ):
                first, _, future = reading.popleft()
                yield first, future.result()
            reading.append((output, size, readers.submit(self._read, output)))
        while reading:
            first, _, future = reading.popleft()
            yield first, future.result()

    def _num_pixels(self, output: PlannedOutput) -> int:
        """By the picture's header; 0 if it cannot be read, which `_read` will say."""
        with suppress(EscnetError), open_image(output.picture, max_pixels=self.max_pixels) as image:
            return image.width * image.height
        return 0

    def _read(self, output: PlannedOutput) -> PictureReport | _ReadPicture:
        """The picture, or what is to be said of it already."""
        # before the pixels: of a file replaced in between, the next job makes the result again
        source = source_of(output.picture)
        if self.resume and source is not None:
            files = output.files(self.formats)
            summary = finished_summary(source, files)
            if summary is not None and self._is_of_this_job(summary):
                return PictureReport(
                    picture=output.picture,
                    status="skipped",
                    outputs=files,
                    summary=briefly(summary),
                )
        try:
            pixels = read_image(output.picture, max_pixels=self.max_pixels)
        except EscnetError as error:
            return _failed(output, error)
        return _ReadPicture(output, pixels, source)

    def _segmented(
        self, batch: Sequence[_ReadPicture]
    ) -> Iterator[tuple[PlannedOutput, Segmentation | PictureReport]]:
        pictures = [read.pixels for read in batch]
        try:
            results = self.segmenter.segment_batch(
                pictures,
                self.vocabulary,
                void_below=self.void_below,
                background=self.vocabulary.has_background,
                windows=self.windows,
            )
        except EscnetError as error:
            if len(batch) == 1:
                yield batch[0].output, _failed(batch[0].output, error)
                return
            for read in batch:  # one by one, so that the others do not fail with the bad one
                yield from self._segmented([read])
            return
        for read, result in zip(batch, results, strict=True):
            yield read.output, replace(result, picture=read.pixels, source=read.source)

    def _is_of_this_job(self, summary: Mapping[str, Any]) -> bool:
        return made_by(summary) == (
            list(self.vocabulary.result_names),
            self.segmenter.model,
            self.segmenter.weights_hash,
            self.settings,
        )


class _Writing:
    """Results on their way to the disk, few enough to fit into memory."""

    def __init__(
        self, pool: ThreadPoolExecutor, note: Callable[[PlannedOutput, PictureReport], None]
    ) -> None:
        self._pool = pool
        self._note = note
        self._waiting: deque[tuple[PlannedOutput, int, Future[PictureReport]]] = deque()

    def add(self, output: PlannedOutput, result: Segmentation, formats: Sequence[str]) -> None:
        future = self._pool.submit(_write, output, result, formats)
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


def _write(output: PlannedOutput, result: Segmentation, formats: Sequence[str]) -> PictureReport:
    try:
        outputs = result.save(output.folder, output.stem, formats)
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


def _failed(output: PlannedOutput, error: EscnetError) -> PictureReport:
    return PictureReport(picture=output.picture, status="failed", error=str(error))
