"""Where the pictures of a job are and where its results go: files on this machine's disks.

Other places have the same methods; `escnet.bulk` has buckets and tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from escnet.annotations.format import FormatOptions
from escnet.data.picture_file import PictureFile, PictureSource
from escnet.inference.jobs.outputs import PlannedOutput, existing_summary
from escnet.segmentation import Segmentation


class ExistingResult(NamedTuple):
    """A result that is there already.

    Attributes:
        files: The path or address of each format's first file.
        summary: The content of STEM.json.
    """

    files: Mapping[str, Path | str]
    summary: Mapping[str, Any]


@runtime_checkable
class PictureStore(Protocol):
    """Where pictures are."""

    def open(self, output: PlannedOutput) -> PictureFile:
        """The file of a picture, which the caller closes.

        Raises:
            ImageError: If there is no such picture, its header is damaged, or it is too large.
        """


@runtime_checkable
class ResultStore(Protocol):
    """Where results go; threads may use it at the same time."""

    def finished(self, output: PlannedOutput, source: PictureSource) -> ExistingResult | None:
        """The result for a picture with this content, whatever made it; None if there is none."""

    def write(self, output: PlannedOutput, result: Segmentation) -> Mapping[str, Path | str]:
        """Write a result; the path or address of each format's first file.

        Raises:
            OutputError: If it cannot be written.
        """


@dataclass(frozen=True, slots=True)
class FilePictures:
    """Pictures in files."""

    max_pixels: int

    def open(self, output: PlannedOutput) -> PictureFile:
        """As `PictureStore` has it."""
        return PictureFile(output.picture, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True)
class FileResults:
    """Results in files of some formats."""

    formats: tuple[str, ...]
    format_options: FormatOptions

    def finished(self, output: PlannedOutput, source: PictureSource) -> ExistingResult | None:
        """As `ResultStore` has it."""
        files = output.files(self.formats)
        summary = existing_summary(source._asdict(), files)
        return None if summary is None else ExistingResult(files, summary)

    def write(self, output: PlannedOutput, result: Segmentation) -> Mapping[str, Path | str]:
        """As `ResultStore` has it."""
        return result.save_at(output.out, output.place, self.formats, self.format_options)
