"""Downloads to the files that a benchmark reads: taken out of archives, or converted.

Every file appears whole or not at all, and one that is there is not made again, so that a stopped
run goes on where it was.
"""

import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Integer
from PIL import Image

from escnet.annotations.files import make_folder, remove_leftovers, write_file
from escnet.data.ade20k import (
    codes_of_full,
    labels_of_full,
    read_object_names,
    reduced_labels,
    reduced_picture,
)
from escnet.data.downloads import Download, Downloads
from escnet.data.image import decoding, image_size_hw
from escnet.data.layout import Split, names_in
from escnet.data.pascal import labels_of_annotations, labels_of_mat
from escnet.errors import DatasetError, EscnetError, ImageError

_CONTEXT_LISTS = ("pascalcontext_val.txt", "ImageSets/SegmentationContext/val.txt")
_MERGED = "trainval_merged.json"
# where a split's label maps lie in its archives, if not in folders called as below the root
_LABEL_TAILS = {"coco-stuff": ("val2017",), "coco-stuff-train": ("train2017",)}
_PICTURE_TAILS = {"coco-stuff": ("val2017",), "coco-stuff-train": ("train2017",)}
_ARCHIVE_ERRORS = (
    OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, tarfile.TarError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One file to be made."""

    target: Path
    make: Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
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
    split: Split,
    downloads: str | Path,
    root: str | Path,
    on_file: Callable[[int], None] | None = None,
) -> Prepared:
    """Make a data set's files below `root` from what was downloaded.

    Args:
        split: The data set.
        downloads: Folder with the archives, or with what was unpacked of them.
        root: Where the files go; may be the same folder.
        on_file: Called with the number of files done.

    Raises:
        DatasetError: If the downloads lack something that all files need.
        OutputError: If a file cannot be written.
    """
    num_written = num_kept = 0
    bad: list[str] = []
    with Downloads(downloads) as found:
        jobs = list(_jobs(split, found, Path(root)))
        for folder in {job.target.parent for job in jobs}:
            make_folder(folder)
            remove_leftovers(folder, {job.target.name for job in jobs})
        for number, job in enumerate(jobs, start=1):
            if job.target.exists():
                num_kept += 1
            elif (reason := _make(job, split)) is None:
                num_written += 1
            else:
                bad.append(reason)
            if on_file is not None:
                on_file(number)
    return Prepared(num_written=num_written, num_kept=num_kept, bad=tuple(bad))


def _make(job: Job, split: Split) -> str | None:
    """Write a file and read it as the benchmark will; if that fails the reason, and no file."""
    try:
        content = job.make()
    except EscnetError as error:
        return str(error)
    except _ARCHIVE_ERRORS as error:
        return f"{job.target.name} cannot be taken out of its archive ({error}): fetch it again"
    write_file(job.target, content)
    try:
        _read_again(job.target, split)
    except EscnetError as error:
        job.target.unlink()
        return str(error)
    return None


def _read_again(path: Path, split: Split) -> None:
    if path.suffix == ".jpg":
        image_size_hw(path)
        return
    for layout in split.layouts:
        if path.parent.as_posix().endswith(layout.labels) and path.suffix == layout.label_suffix:
            layout.read_labels(path)


def _jobs(split: Split, found: Downloads, root: Path) -> Iterator[Job]:
    makers = {"a-847": _full_ade, "pc-459": _context_459, "pc-59": _context_59}
    yield from makers.get(split.name, _as_published)(split, found, root)


def _as_published(split: Split, found: Downloads, root: Path) -> Iterator[Job]:
    """Pictures and label maps that are read as they are, out of their archives."""
    for layout in split.layouts:
        label_tails = _LABEL_TAILS.get(split.name, (_tail(layout.labels),))
        picture_tails = _PICTURE_TAILS.get(split.name, (_tail(layout.pictures),))
        labels = _in_any(found, (*label_tails, _tail(layout.labels)), layout.label_suffix)
        pictures = {
            **_in_any(found, (*picture_tails, _tail(layout.pictures)), ".png"),
            **_in_any(found, (*picture_tails, _tail(layout.pictures)), ".jpg"),
        }
        names = None
        if layout.names_file is not None:
            listed = found.file(_tail(layout.names_file, 3))
            if listed is None:
                continue
            names = set(names_in(listed.read()))
            yield Job(root / layout.names_file, listed.read)
        stems = sorted(labels.keys() & pictures.keys())
        if not stems:
            continue
        for stem in stems:
            if names is not None and stem not in names:
                continue
            suffix = pictures[stem].path.suffix
            yield Job(root / layout.pictures / f"{stem}{suffix}", pictures[stem].read)
            yield Job(root / layout.labels / f"{stem}{layout.label_suffix}", labels[stem].read)
        return
    first = split.layouts[0]
    raise DatasetError(
        f"{found.folder} holds no pictures with label maps of {split.name} (looked for "
        f"{first.pictures} and {first.labels}, in folders and archives): see docs/evaluation.md"
    )


def _full_ade(split: Split, found: Downloads, root: Path) -> Iterator[Job]:
    layout = split.layouts[0]
    index = _needed(found, "index_ade20k.pkl", split)
    codes = codes_of_full(read_object_names(index.read(), index.shown), index.shown)
    inside = [d for d in found.below("images/ADE/validation") if "_val_" in d.path.name]
    pictures = {d.path.stem: d for d in inside if d.path.suffix == ".jpg"}
    maps = {d.path.stem.removesuffix("_seg"): d for d in inside if d.path.stem.endswith("_seg")}
    if not pictures.keys() & maps.keys():
        raise DatasetError(
            f"{found.folder} holds no images/ADE/validation with *_seg.png: "
            "give the folder that holds ADE20K_2021_17_01"
        )
    for stem in sorted(pictures.keys() & maps.keys()):
        yield Job(root / layout.pictures / f"{stem}.jpg", partial(_small_jpeg, pictures[stem]))
        yield Job(root / layout.labels / f"{stem}.tif", partial(_small_labels, maps[stem], codes))


def _small_jpeg(picture: Download) -> bytes:
    rgb = _rgb(picture)
    buffer = io.BytesIO()
    Image.fromarray(reduced_picture(rgb)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _small_labels(colours: Download, codes: dict[int, int]) -> bytes:
    return _encoded(reduced_labels(labels_of_full(_rgb(colours), codes)), ".tif")


def _rgb(download: Download) -> Integer[np.ndarray, "H W 3"]:
    with decoding(f"picture {download.shown}"), Image.open(io.BytesIO(download.read())) as image:
        return np.array(image.convert("RGB"))


def _context_459(split: Split, found: Downloads, root: Path) -> Iterator[Job]:
    maps = found.in_folder("trainval", ".mat")
    if not maps:
        raise DatasetError(
            f"{found.folder} holds no trainval/*.mat, nor an archive of it: "
            "fetch Pascal Context's trainval.tar.gz"
        )
    for stem in _context_names(split, found):
        if stem in maps:
            make = partial(_mat_labels, maps[stem])
            yield from _context_jobs(split, found, root, stem, make)


def _mat_labels(download: Download) -> bytes:
    return _encoded(labels_of_mat(download.read(), download.shown), ".tif")


def _context_names(split: Split, found: Downloads) -> list[str]:
    for tail in _CONTEXT_LISTS:
        listed = found.file(tail)
        if listed is not None:
            return names_in(listed.read())
    if found.file(_MERGED) is None:
        raise DatasetError(
            f"{found.folder} holds no list of {split.name}'s pictures: "
            f"add pascalcontext_val.txt or {_MERGED}"
        )
    merged = _merged(_needed(found, _MERGED, split))
    return [PurePosixPath(entry["file_name"]).stem for entry in merged[0]]


def _context_59(split: Split, found: Downloads, root: Path) -> Iterator[Job]:
    merged = _needed(found, _MERGED, split)
    pictures, annotations = _merged(merged)
    for entry in pictures:
        stem = PurePosixPath(entry["file_name"]).stem
        shown = f"{merged.shown}: {stem}"
        mine = annotations.get(entry["image_id"], [])
        height, width = entry["height"], entry["width"]
        make = partial(_annotated_labels, mine, height, width, shown)
        yield from _context_jobs(split, found, root, stem, make)


def _annotated_labels(entries: list[dict[str, Any]], height: int, width: int, shown: str) -> bytes:
    return _encoded(labels_of_annotations(entries, height, width, shown), ".png")


def _merged(
    download: Download,
) -> tuple[list[dict[str, Any]], dict[object, list[dict[str, Any]]]]:
    """The pictures of the val phase, and the entries of each picture."""
    try:
        content = json.loads(download.read())
        pictures = [entry for entry in content["images"] if entry["phase"] == "val"]
        annotations: dict[object, list[dict[str, Any]]] = {}
        for entry in content["annos_segmentation"]:
            annotations.setdefault(entry["image_id"], []).append(entry)
        for entry in pictures:
            entry["file_name"], entry["image_id"], entry["height"], entry["width"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{download.shown} is not as published ({error!r}): fetch it again"
        ) from None
    return pictures, annotations


def _context_jobs(
    split: Split, found: Downloads, root: Path, stem: str, make: Callable[[], bytes]
) -> Iterator[Job]:
    layout = split.layouts[0]
    picture = found.in_folder("VOC2010/JPEGImages", ".jpg").get(stem)
    if picture is None:
        make_none = partial(_no_picture, stem, split)
        yield Job(root / layout.pictures / f"{stem}.jpg", make_none)
    else:
        yield Job(root / layout.pictures / f"{stem}.jpg", picture.read)
    yield Job(root / layout.labels / f"{stem}{layout.label_suffix}", make)


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


def _needed(found: Downloads, tail: str, split: Split) -> Download:
    download = found.file(tail)
    if download is None:
        raise DatasetError(f"{found.folder} holds no {tail}, which {split.name} needs: fetch it")
    return download


def _in_any(found: Downloads, tails: tuple[str, ...], suffix: str) -> dict[str, Download]:
    files: dict[str, Download] = {}
    for tail in tails:
        files = {**found.in_folder(tail, suffix), **files}
    return files


def _tail(path: str, length: int = 2) -> str:
    """The last folders of a path, which archives and unpacked folders have in common."""
    parts = PurePosixPath(path).parts
    if parts[-1].startswith("SegmentationClassAug"):
        return parts[-1]  # its archive holds nothing above it
    if parts[0].startswith("ADE"):
        return path
    return "/".join(parts[-length:])
