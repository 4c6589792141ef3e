"""Pictures out of buckets, and results into buckets, one part of a job at a time."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from escnet.annotations.format import FormatOptions
from escnet.annotations.registry import FORMATS
from escnet.bulk.places import Folder, address_of, file_system, telling
from escnet.data.picture_file import PictureFile, PictureSource
from escnet.errors import ConfigError, ImageError, OutputError
from escnet.inference.jobs.outputs import PlannedOutput, existing_summary
from escnet.inference.jobs.stores import ExistingResult
from escnet.segmentation import Segmentation

_DOWNLOADS = 8  # pictures that come at the same time, or wait to be read


def check_bucket_formats(formats: Sequence[str]) -> None:
    """Make sure that results of these formats can lie in a bucket.

    Raises:
        ConfigError: If one has files that are put together from those of all pictures.
    """
    for kind in formats:
        if FORMATS[kind].whole is not None or FORMATS[kind].folder:
            raise ConfigError(
                f"format {kind} has files about all pictures, which are put together on a disk: "
                "give --out a folder of this machine, or leave the format out"
            )


@contextmanager
def fetched_pictures(
    outputs: Sequence[PlannedOutput], max_pixels: int
) -> Iterator["FetchedPictures"]:
    """The pictures of a part, for the time that it takes; a few are fetched ahead."""
    with (
        TemporaryDirectory(prefix="escnet-") as folder,
        ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="escnet-fetch") as pool,
    ):
        pictures = FetchedPictures(outputs, max_pixels, Path(folder), pool)
        try:
            yield pictures
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class FetchedPictures:
    """Pictures of which some are in buckets, to be opened in their order."""

    def __init__(
        self,
        outputs: Sequence[PlannedOutput],
        max_pixels: int,
        folder: Path,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._max_pixels = max_pixels
        self._folder = folder
        self._pool = pool
        self._coming: dict[PlannedOutput, Future[Path]] = {}
        self._later = iter([one for one in outputs if address_of(one.picture) is not None])
        for _ in range(_DOWNLOADS):
            self._send_for_next()

    def open(self, output: PlannedOutput) -> PictureFile:
        """As `PictureStore` has it."""
        address = address_of(output.picture)
        if address is None:
            return PictureFile(output.picture, max_pixels=self._max_pixels)
        try:
            fetched = self._coming.pop(output).result()
        finally:
            self._send_for_next()
        try:
            return _FetchedFile(fetched, max_pixels=self._max_pixels, shown=address)
        except ImageError:
            shutil.rmtree(fetched.parent, ignore_errors=True)
            raise

    def _send_for_next(self) -> None:
        output = next(self._later, None)
        if output is not None:
            self._coming[output] = self._pool.submit(self._fetch, str(address_of(output.picture)))

    def _fetch(self, address: str) -> Path:
        system, path = file_system(address)
        target = Path(mkdtemp(dir=self._folder)) / Path(path).name
        with telling(address, ImageError, "read"):
            system.get_file(path, str(target))
        return target


class _FetchedFile(PictureFile):
    """A copy of a picture, which goes when it is closed."""

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.path.parent, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class BucketResults:
    """Results in the files of some formats, in a bucket.

    Attributes:
        out: The folder of all results.
        formats: What is written for each picture.
        format_options: How it is written.
    """

    out: Folder
    formats: tuple[str, ...]
    format_options: FormatOptions

    def finished(self, output: PlannedOutput, source: PictureSource) -> ExistingResult | None:
        """As `ResultStore` has it."""
        with TemporaryDirectory(prefix="escnet-") as folder:
            here = Path(folder)
            paths = {kind: FORMATS[kind].first_file(output.place) for kind in self.formats}
            files = {kind: here / path for kind, path in paths.items()}
            if not self._fetch(here, paths["json"]):
                return None
            for path in _sealed_files(files["json"], source, here):
                self._fetch(here, path)
            summary = existing_summary(source._asdict(), files)
            return None if summary is None else ExistingResult(self._addresses(paths), summary)

    def _fetch(self, here: Path, path: str) -> bool:
        content = self.out.read(path)
        if content is None:
            return False
        target = here / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return True

    def write(self, output: PlannedOutput, result: Segmentation) -> Mapping[str, Path | str]:
        """As `ResultStore` has it; STEM.json comes last, as it vouches for the others."""
        with TemporaryDirectory(prefix="escnet-") as folder:
            files = result.save_at(folder, output.place, self.formats, self.format_options)
            last = files.get("json")
            written = [path for path in Path(folder).rglob("*") if path.is_file()]
            for path in sorted(written, key=lambda path: (path == last, path)):
                self.out.write(path.relative_to(folder).as_posix(), path.read_bytes())
        return self._addresses(
            {kind: path.relative_to(folder).as_posix() for kind, path in files.items()}
        )

    def _addresses(self, paths: Mapping[str, str]) -> dict[str, Path | str]:
        return {kind: self.out.child(path) for kind, path in paths.items()}


def _sealed_files(summary_path: Path, source: PictureSource, here: Path) -> list[str]:
    """The files below a folder that a STEM.json vouches for, if it is of this picture."""
    with suppress(ValueError, LookupError, TypeError, OutputError):
        summary = json.loads(summary_path.read_bytes())
        if summary["source"] == source._asdict():
            below = summary_path.parent.relative_to(here)
            sealed = [
                entry["file"]
                for first in summary["files"].values()
                for entry in (first, *first.get("more", []))
            ]
            paths = [(below / name).as_posix() for name in sealed]
            return [path for path in paths if ".." not in Path(path).parts]
    return []
