"""`SegmentJob` on the workers of a Ray cluster, with pictures and results on disks or in buckets.

Each worker reads, segments and writes the pictures of a part as the job of one process does, so the
files are the same. What is not there yet when a worker is killed is made by the next one.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from escnet.annotations.registry import write_whole_files
from escnet.bulk.bucket_stores import BucketResults, check_bucket_formats, fetched_pictures
from escnet.bulk.cluster import Answer, Workforce, answers_of, ray_cluster
from escnet.bulk.places import Folder, address_of, is_address
from escnet.bulk.tables import (
    TABLES_FOLDER,
    TableResults,
    check_no_tables,
    key_of,
    next_number,
    part_name,
    tables_by_picture,
)
from escnet.data.pages import Pages
from escnet.errors import ConfigError, ImageError, OutputError
from escnet.inference.jobs.outputs import FAILURES_FILE, PlannedOutput, clean_up
from escnet.inference.jobs.segment_job import (
    JobReport,
    PictureReport,
    SegmentJob,
    failures_json,
)
from escnet.inference.jobs.stores import FileResults, ResultStore
from escnet.inference.segmenter import Reference, Segmenter
from escnet.vocabulary import Vocabulary

PARQUET = "parquet"

_LARGEST_PART = 64  # pictures: a worker that is killed has its results of a part to look at again
_LARGEST_TABLE = 256  # pictures, some megabytes
_MOST_TOLD = 10_000  # pictures; the report of a larger job holds their fates alone
_PARTS_EACH = 8  # at least, for each worker, so that all end at about the same time


class Part(NamedTuple):
    """What a worker gets at once.

    Attributes:
        outputs: The pictures.
        table: The name of their table; empty where results are files.
    """

    outputs: tuple[PlannedOutput, ...]
    table: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkSegmentJob:
    """A `SegmentJob` for the workers of a cluster; `plan` makes one.

    Attributes:
        job: What is done.
        out: Where results go.
        workforce: The workers.
        as_tables: Whether results are tables of Parquet.
    """

    job: SegmentJob
    out: Folder
    workforce: Workforce
    as_tables: bool = False
    _tables: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[PlannedOutput, ...]:
        """Each picture, and where its results go."""
        return self.job.outputs

    @classmethod
    def plan(
        cls,
        paths: Iterable[str | Path],
        vocabulary: Vocabulary,
        *,
        out: str | Path,
        formats: Iterable[str],
        workforce: Workforce,
        resume: bool = False,
        pages: Pages = Pages(),  # noqa: B008 -- frozen
        **choices: Any,
    ) -> "BulkSegmentJob":
        """A job of which everything that needs no model has been checked.

        Args:
            paths: Picture files, or what `find_in_bucket` gave.
            vocabulary: The class names.
            out: The output folder, or its address.
            formats: As `SegmentJob.plan` has them; or "parquet" alone.
            workforce: The workers.
            resume: As `SegmentJob.plan` has it.
            pages: As `SegmentJob.plan` has them; of pictures in buckets the first alone is read.
            choices: What else `SegmentJob.plan` takes.

        Raises:
            ConfigError: If the formats cannot be, or there is nothing to resume by.
            OutputError: If something that is no result would be replaced, or the folder cannot be
                written.
        """
        formats, pictures = tuple(formats), [Path(path) for path in paths]
        has_fetched = any(address_of(picture) is not None for picture in pictures)
        out = address_of(Path(out)) or out
        as_tables = PARQUET in formats
        if as_tables and len(formats) > 1:
            raise ConfigError("parquet holds all that there is of a picture: give it alone")
        in_bucket = is_address(str(out))
        if not as_tables and in_bucket:
            check_bucket_formats(formats)
        if pages != Pages() and has_fetched:
            raise ConfigError(
                "--pages needs pictures on a disk: of those in buckets page 1 is read"
            )
        if "geojson" in formats and has_fetched:
            raise ConfigError("format geojson needs pictures on a disk, with their world files")
        with TemporaryDirectory(prefix="escnet-") as nowhere:
            planned = SegmentJob.plan(
                pictures,
                vocabulary,
                out=nowhere if as_tables or in_bucket else out,  # the places below it count
                formats=("json",) if as_tables else formats,
                resume=resume,
                pages=pages,
                **choices,
            )
        job = cls(job=planned, out=Folder(str(out)), workforce=workforce, as_tables=as_tables)
        if not as_tables:
            return job
        if not resume:
            check_no_tables(job._tables_folder)
        return replace(job, _tables=tables_by_picture(job._tables_folder))

    @property
    def _tables_folder(self) -> Folder:
        return Folder(self.out.child(TABLES_FOLDER))

    def run(
        self,
        segmenter: Segmenter,
        on_progress: Callable[[PictureReport], None] | None = None,
    ) -> JobReport:
        """Segment the pictures and write the results.

        Of more than 10,000 pictures the report says what became of each, and no more.

        Args:
            segmenter: One that `Segmenter.load` made; each worker loads the same.
            on_progress: Called once for each picture, when its part is finished.

        Raises:
            ConfigError: If there is no cluster, or the segmenter cannot be loaded elsewhere.
            OutputError: If results cannot be written.
        """
        if segmenter.reference is None:
            raise ConfigError("workers load the model themselves: use one that Segmenter.load gave")
        if not self.as_tables and not is_address(self.out.where):
            clean_up(self.outputs, self.job.formats)
        reports: dict[PlannedOutput, PictureReport] = {}
        is_brief = len(self.outputs) > _MOST_TOLD
        try:
            with closing(self._reports(segmenter.reference)) as coming:
                for output, report in coming:
                    fate = replace(report, outputs={}, summary={}) if is_brief else report
                    reports[output] = fate
                    if on_progress is not None:
                        on_progress(report)
        except BaseException:
            with suppress(OutputError):  # of which has been told already
                self._list_failures(reports, is_over=False)
            raise
        self._list_failures(reports, is_over=True)
        return JobReport(
            pictures=tuple(reports[output] for output in self.outputs),
            whole_files={} if self.as_tables else self._whole_files(reports),
        )

    def _reports(
        self, reference: Reference
    ) -> Generator[tuple[PlannedOutput, PictureReport], None, None]:
        """What becomes of each picture, in the order in which workers finish their parts."""
        task = SegmentTask(
            job=replace(self.job, outputs=()),
            out=self.out,
            as_tables=self.as_tables,
            reference=reference,
        )
        with ray_cluster(self.workforce) as crew:
            parts = self._parts(crew.workers)
            for number, answer in answers_of(parts, task, crew):
                outputs = parts[number].outputs
                yield from zip(outputs, answer or map(_lost, outputs), strict=True)

    def _parts(self, workers: int) -> list[Part]:
        """The pictures in parts; those that have a table already are one with its others."""
        largest = _LARGEST_TABLE if self.as_tables else _LARGEST_PART
        size = min(largest, max(1, -(-len(self.outputs) // (workers * _PARTS_EACH))))
        if not self.as_tables:
            return [Part(chunk) for chunk in _chunks(self.outputs, size)]
        known: dict[str, list[PlannedOutput]] = {}
        new: list[PlannedOutput] = []
        for output in self.outputs:
            table = self._tables.get(key_of(output))
            (new if table is None else known.setdefault(table, [])).append(output)
        first = next_number(self._tables.values())
        parts = [Part(tuple(outputs), table) for table, outputs in known.items()]
        return parts + [
            Part(chunk, part_name(first + i)) for i, chunk in enumerate(_chunks(new, size))
        ]

    def _list_failures(
        self, reports: Mapping[PlannedOutput, PictureReport], *, is_over: bool
    ) -> None:
        """Write the list of failures, or remove an earlier job's if there are none at the end."""
        failures = [r for o in self.outputs if (r := reports.get(o)) and r.status == "failed"]
        if len(self.outputs) < 2:
            return
        if failures:
            self.out.write(FAILURES_FILE, failures_json(failures))
        elif is_over:
            self.out.delete(FAILURES_FILE)

    def _whole_files(self, reports: dict[PlannedOutput, PictureReport]) -> Any:
        """Write what is about all pictures that are finished, those of earlier jobs included."""
        return write_whole_files(
            self.job.out,
            self.job.vocabulary.names_at(self.job.options.level),
            [output.place for output in self.outputs if reports[output].status != "failed"],
            self.job.formats,
            self.job.format_options,
        )


def _chunks(outputs: Sequence[PlannedOutput], size: int) -> Iterator[tuple[PlannedOutput, ...]]:
    for start in range(0, len(outputs), size):
        yield tuple(outputs[start : start + size])


def _lost(output: PlannedOutput) -> PictureReport:
    """The report of a picture whose workers were killed time after time."""
    error = ImageError(
        "its worker was killed several times, with this picture or one beside it, for want of "
        "memory as a rule: give fewer --workers, and --resume"
    )
    return PictureReport(picture=_named(output), status="failed", cause=error)


def _named(output: PlannedOutput) -> Path | str:
    return address_of(output.picture) or output.picture


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTask:
    """What each worker of a job does.

    Attributes:
        job: What is done, without its pictures.
        out: Where results go.
        as_tables: Whether they are tables.
        reference: What the model is loaded by.
    """

    job: SegmentJob
    out: Folder
    as_tables: bool
    reference: Reference

    def start(self, threads: int) -> Answer:
        """As `PartTask` has it."""
        segmenter = self.reference.load(threads=threads)

        def answer(part: Part, is_second: bool) -> list[PictureReport]:
            return self._segment(segmenter, part, is_second)

        return answer

    def _segment(self, segmenter: Segmenter, part: Part, is_second: bool) -> list[PictureReport]:
        # what a worker that was killed had finished is not made again
        looks_back = is_second and "json" in self.job.formats
        job = replace(self.job, outputs=part.outputs, resume=self.job.resume or looks_back)
        results = self._results(part)
        with fetched_pictures(part.outputs, self.job.options.max_pixels) as pictures:
            reports = job.run_part(segmenter, pictures, results)
        if isinstance(results, TableResults):
            results.write_table()
        return [
            replace(
                report,
                picture=_named(output),
                status="written"
                if report.status == "skipped" and not self.job.resume
                else report.status,
            )
            for output, report in zip(part.outputs, reports, strict=True)
        ]

    def _results(self, part: Part) -> ResultStore:
        if self.as_tables:
            folder = Folder(self.out.child(TABLES_FOLDER))
            return TableResults(folder, part.table, self.job.format_options)
        if is_address(self.out.where):
            return BucketResults(self.out, self.job.formats, self.job.format_options)
        return FileResults(self.job.formats, self.job.format_options)
