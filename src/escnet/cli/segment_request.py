"""What `escnet segment` was asked for, whatever its sources are."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escnet.cli.bulk import segmenter_for_workers

if TYPE_CHECKING:
    from escnet.annotations.format import FormatOptions
    from escnet.bulk.cluster import Workforce
    from escnet.errors import EscnetError
    from escnet.inference.options import SegmentOptions
    from escnet.inference.segmenter import Segmenter
    from escnet.rasters.job import RasterReport
    from escnet.video.job import FilmReport
    from escnet.vocabulary import Vocabulary

    WholeReport = RasterReport | FilmReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRequest:
    """The options of the command, checked.

    Attributes:
        vocabulary: The class names.
        out: Folder of the results.
        options: How pictures are segmented.
        formats: What is written.
        format_options: How it is written.
        resume: Whether what an equal run has finished stays.
        classes_file: Where the names came from.
        pages: Of pictures with several.
        bands: Of rasters.
        stretch: Of rasters; empty for the usual one.
        smooth: Of films; None for the usual strength.
        keyframes: Of films.
        model: As `Segmenter.load` takes it, like the rest.
        device: Where it computes.
        dtype: What in.
        threads: How many.
        calibration: As `Segmenter.load` takes it.
        workforce: The workers that do it; None for this process.
        as_json: Whether one JSON document is printed.
    """

    vocabulary: "Vocabulary"
    out: Path
    options: "SegmentOptions"
    formats: tuple[str, ...]
    format_options: "FormatOptions"
    resume: bool
    classes_file: Path | None
    pages: str
    bands: str
    stretch: str
    smooth: float | None
    keyframes: int
    model: str
    device: str
    dtype: str
    threads: int | None
    calibration: str | None
    workforce: "Workforce | None"
    as_json: bool

    def load(self) -> "Segmenter":
        """The segmenter, which takes seconds."""
        if self.workforce is not None:
            segmenter = segmenter_for_workers(
                self.model, self.device, self.dtype, calibration=self.calibration
            )
            segmenter.text_embedding(self.vocabulary)  # nobody would see what workers say of names
            return segmenter
        from escnet.inference.segmenter import Segmenter

        return Segmenter.load(
            self.model,
            device=self.device,
            dtype=self.dtype,
            calibration=self.calibration,
            threads=self.threads,
        )


class Failures:
    """Sources that could not be segmented; one that is alone is the whole command.

    Args:
        num_sources: How many were asked for.

    Attributes:
        errors: What was wrong, by source.
    """

    def __init__(self, num_sources: int) -> None:
        self._is_alone = num_sources == 1
        self.errors: list[tuple[str, EscnetError]] = []

    @contextmanager
    def noted(self, source: str | Path) -> Iterator[None]:
        """Note what goes wrong with a source, so that the others go on.

        Raises:
            EscnetError: If the source is alone, or results cannot be written at all.
        """
        from escnet.errors import EscnetError, OutputError

        try:
            yield
        except OutputError:
            raise
        except EscnetError as error:
            if self._is_alone:
                raise
            self.errors.append((str(source), error))


def print_documents(noun: str, reports: "Sequence[WholeReport]", failures: Failures) -> None:
    """Print what became of sources as one JSON document.

    Args:
        noun: What each is, such as "film".
        reports: Of those that were segmented.
        failures: The others.
    """
    print_json(
        {
            "format": 1,
            f"{noun}s": [
                {
                    noun: str(getattr(report, noun)),
                    "status": report.status,
                    "outputs": {kind: str(path) for kind, path in report.outputs.items()},
                    **report.summary,
                }
                for report in reports
            ],
            "failures": [{noun: source, "error": str(error)} for source, error in failures.errors],
        }
    )


def print_whole(title: str, report: "WholeReport") -> None:
    """Print what a film or a raster shows, and its files.

    Args:
        title: Which it is, and how large.
        report: What became of it.
    """
    from escnet.files import display_path

    print(f"{title}{', already finished' if report.status == 'skipped' else ''}")
    print_table(report.summary)
    for path in report.outputs.values():
        print(display_path(path))


def counted(number: int, one: str, several: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else several}"


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    from escnet.annotations.json_text import to_json

    sys.stdout.write(to_json(document).decode("utf-8"))


def print_table(summary: Mapping[str, Any]) -> None:
    """Print shares and confidences of the names, the largest first."""
    names = [entry for entry in summary["names"] if entry["share"]]
    names.sort(key=lambda entry: -entry["share"])
    width = max((len(entry["name"]) for entry in names), default=0)
    for entry in names:
        mean = entry.get("mean_confidence")
        confidence = "" if mean is None else f"  confidence {mean:.2f}"
        print(f"  {entry['name']:{width}}  {entry['share']:6.1%}{confidence}")
    if summary["void"]["share"]:
        print(f"  {'(unlabelled)':{width}}  {summary['void']['share']:6.1%}")
