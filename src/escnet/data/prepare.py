"""Downloads to the files that a benchmark reads: taken out of archives, or converted.

Every file appears whole or not at all, and one that is there is not made again, so that a stopped
run goes on where it was.
"""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer
from PIL import Image

from escnet.data.ade20k import (
    codes_of_full,
    labels_of_full,
    read_object_names,
    reduced_labels,
    reduced_picture,
)
from escnet.data.downloads import Download, Downloads
from escnet.data.image import decoding, image_size_hw
from escnet.data.layout import Layout, Split, stems_in
from escnet.data.pascal import (
    AnnotatedPicture,
    labels_of_annotations,
    labels_of_mat,
    read_annotated,
)
from escnet.errors import DatasetError, EscnetError, ImageError
from escnet.files import display_path, make_folder, remove_leftovers, write_file

_CONTEXT_LISTS = ("pascalcontext_val.txt", "ImageSets/SegmentationContext/val.txt")
_MERGED = "trainval_merged.json"
_ARCHIVE_ERRORS = (
    OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, tarfile.TarError,
)  # fmt: skip

Counter = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One file to be made, and how it is read once it is there."""

    target: Path
    make: Callable[[], bytes]
    check: Callable[[Path], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationReport:
    """What became of the files.

    Attributes:
        num_written: Made now.
        num_kept: There before.
        bad: For each file that could not be made, why.
    """

    num_written: int
    num_kept: int
    bad: tuple[str, ...]


def prepare(
    split: Split, downloads: str | Path, root: str | Path, on_file: Counter | None = None
) -> PreparationReport:
    """Make a data set's files below `root` from what was downloaded.

    Args:
        split: The data set.
        downloads: Folder with the archives, or with what was unpacked of them.
        root: Where the files go; may be the same folder.
        on_file: Called with the number of finished files and of all.

    Raises:
        DatasetError: If the downloads lack something that all files need.
        OutputError: If a file cannot be written.
    """
    num_written = num_kept = 0
    bad: list[str] = []
    with Downloads(downloads) as archives:
        jobs = list(_MAKERS.get(split.name, _as_published)(split, archives, Path(root)))
        for folder in {job.target.parent for job in jobs}:
            make_folder(folder)
            remove_leftovers(folder, {job.target.name for job in jobs})
        for number, job in enumerate(jobs, start=1):
            if job.target.exists():
                num_kept += 1
            elif (reason := _write(job)) is None:
                num_written += 1
            else:
                bad.append(reason)
            if on_file is not None:
                on_file(number, len(jobs))
    return PreparationReport(num_written=num_written, num_kept=num_kept, bad=tuple(bad))


def _write(job: Job) -> str | None:
    """Write a file and read it as the benchmark will; if that fails the reason, and no file."""
    try:
        content = job.make()
    except EscnetError as error:
        return str(error)
    except _ARCHIVE_ERRORS as error:
        return f"{job.target.name} cannot be taken out of its archive ({error}): fetch it again"
    write_file(job.target, content)
    try:
        job.check(job.target)
    except EscnetError as error:
        job.target.unlink()
        return str(error)
    return None


def _pair(
    layout: Layout, root: Path, stem: str, picture: Callable[[], bytes], labels: Callable[[], bytes]
) -> Iterator[Job]:
    pictures = root / layout.pictures / f"{stem}{layout.picture_suffix}"
    yield Job(pictures, picture, image_size_hw)
    yield Job(root / layout.labels / f"{stem}{layout.label_suffix}", labels, layout.read_labels)


def _as_published(split: Split, archives: Downloads, root: Path) -> Iterator[Job]:
    """Pictures and label maps that are read as they are, out of their archives."""
    for layout in split.layouts:
        picture_tail = layout.downloaded_pictures or _tail(layout.pictures)
        label_tail = layout.downloaded_labels or _tail(layout.labels)
        pictures = archives.in_folder(picture_tail, layout.picture_suffix)
        labels = archives.in_folder(label_tail, layout.label_suffix)
        stems = pictures.keys() & labels.keys()
        listed = None
        if layout.names_file is not None:
            listed = archives.file(_tail(layout.names_file))
            stems &= set(stems_in(listed.read())) if listed else set()
        if not stems:
            continue
        if layout.names_file is not None and listed is not None:
            yield Job(root / layout.names_file, listed.read, Path.exists)
        for stem in sorted(stems):
            yield from _pair(layout, root, stem, pictures[stem].read, labels[stem].read)
        return
    first = split.layouts[0]
    also = f" and {first.names_file}" if first.names_file else ""
    raise DatasetError(
        f"{display_path(archives.folder)} holds no pictures with label maps of {split.name} "
        f"(looked for {first.pictures} and {first.labels}{also}, in folders and archives): "
        "see docs/how-to/benchmarks.md"
    )


def _full_ade(split: Split, archives: Downloads, root: Path) -> Iterator[Job]:
    index = _needed(archives, "index_ade20k.pkl", split)
    codes = codes_of_full(read_object_names(index.read(), index.shown), index.shown)
    inside = [d for d in archives.below("images/ADE/validation") if "_val_" in d.path.name]
    pictures = {d.path.stem: d for d in inside if d.path.suffix == ".jpg"}
    maps = {d.path.stem.removesuffix("_seg"): d for d in inside if d.path.name.endswith("_seg.png")}
    stems = sorted(pictures.keys() & maps.keys())
    if not stems:
        raise DatasetError(
            f"{display_path(archives.folder)} holds no images/ADE/validation with *_seg.png: "
            "give the folder that holds ADE20K_2021_17_01"
        )
    for stem in stems:
        picture, labels = (
            partial(_small_jpeg, pictures[stem]),
            partial(_small_labels, maps[stem], codes),
        )
        yield from _pair(split.layouts[0], root, stem, picture, labels)


def _small_jpeg(picture: Download) -> bytes:
    rgb = _rgb(picture)
    buffer = io.BytesIO()
    Image.fromarray(reduced_picture(rgb)).save(buffer, "JPEG")  # quality as published
    return buffer.getvalue()


def _small_labels(colours: Download, codes: dict[int, int]) -> bytes:
    return _encoded(reduced_labels(labels_of_full(_rgb(colours), codes)), ".tif")


def _rgb(download: Download) -> Integer[np.ndarray, "H W 3"]:
    with decoding(f"picture {download.shown}"), Image.open(io.BytesIO(download.read())) as image:
        return np.array(image.convert("RGB"))


def _context_459(split: Split, archives: Downloads, root: Path) -> Iterator[Job]:
    maps = archives.in_folder("trainval", ".mat")
    if not maps:
        raise DatasetError(
            f"{display_path(archives.folder)} holds no trainval/*.mat, nor an archive of it: "
            "fetch Pascal Context's trainval.tar.gz"
        )
    makers = {
        stem: partial(_mat_labels, maps[stem])
        for stem in _context_names(split, archives)
        if stem in maps
    }
    yield from _context_jobs(split, archives, root, makers)


def _mat_labels(download: Download) -> bytes:
    return _encoded(labels_of_mat(download.read(), download.shown), ".tif")


def _context_names(split: Split, archives: Downloads) -> list[str]:
    for tail in _CONTEXT_LISTS:
        listed = archives.file(tail)
        if listed is not None:
            return stems_in(listed.read())
    merged = archives.file(_MERGED)
    if merged is None:
        raise DatasetError(
            f"{display_path(archives.folder)} holds no list of {split.name}'s pictures: "
            f"add pascalcontext_val.txt or {_MERGED}"
        )
    return list(read_annotated(merged.read(), merged.shown))


def _context_59(split: Split, archives: Downloads, root: Path) -> Iterator[Job]:
    merged = _needed(archives, _MERGED, split)
    makers = {
        stem: partial(_annotated_labels, picture, f"{merged.shown}: {stem}")
        for stem, picture in read_annotated(merged.read(), merged.shown).items()
    }
    yield from _context_jobs(split, archives, root, makers)


def _annotated_labels(picture: AnnotatedPicture, shown: str) -> bytes:
    return _encoded(labels_of_annotations(picture, shown), ".png")


def _context_jobs(
    split: Split, archives: Downloads, root: Path, makers: Mapping[str, Callable[[], bytes]]
) -> Iterator[Job]:
    pictures = archives.in_folder("VOC2010/JPEGImages", ".jpg")
    for stem, labels in makers.items():
        is_there = stem in pictures
        picture = pictures[stem].read if is_there else partial(_no_picture, stem, split)
        yield from _pair(split.layouts[0], root, stem, picture, labels)


def _no_picture(stem: str, split: Split) -> bytes:
    raise ImageError(
        f"{split.name} has no picture {stem}.jpg in VOC2010/JPEGImages: fetch VOC 2010"
    )


def _encoded(labels: Integer[np.ndarray, "H W"], suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".tif":
        Image.fromarray(labels.astype(np.uint16)).save(buffer, "TIFF", compression="tiff_lzw")
    else:
        Image.fromarray(labels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _needed(archives: Downloads, tail: str, split: Split) -> Download:
    download = archives.file(tail)
    if download is None:
        raise DatasetError(
            f"{display_path(archives.folder)} holds no {tail}, which {split.name} needs: fetch it"
        )
    return download


def _tail(path: str) -> str:
    """What a path below the root and the downloads have in common, however deep they lie."""
    return path.removeprefix("VOCdevkit/")


_MAKERS = {"a-847": _full_ade, "pc-459": _context_459, "pc-59": _context_59}
