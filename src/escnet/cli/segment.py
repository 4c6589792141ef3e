"""`escnet segment`: pictures and names in, label maps out."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from escnet.cli.options import Device, Dtype, Model, SharePrior

if TYPE_CHECKING:
    from escnet.inference.batch import JobReport, PictureReport
    from escnet.inference.windows import Windows
    from escnet.vocabulary import Vocabulary

SHEET_SUFFIXES = (".explain.png", ".comparison.png")  # what else earlier runs may have left


def segment(  # noqa: PLR0913, PLR0917 -- one argument for each option
    sources: Annotated[
        list[str], typer.Argument(help='Pictures, folders, patterns such as "holiday/*.jpg".')
    ],
    classes: Annotated[
        str | None,
        typer.Option(help='Class names, such as "road, car=car|truck|van, sky".'),
    ] = None,
    classes_file: Annotated[
        Path | None,
        typer.Option(help="Class names in a file: one a line, JSON, or what your tool wrote."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the results; sub-folders of the sources are mirrored.")
    ] = Path(),
    formats: Annotated[
        str, typer.Option("--format", help="What to write, for each picture.")
    ] = "labels,overlay,json",
    void_below: Annotated[
        float, typer.Option(help="Leave pixels below this confidence unlabelled.", metavar="P")
    ] = 0.0,
    background: Annotated[
        bool, typer.Option("--background", help="Add a class that wins where no name does.")
    ] = False,
    windows: Annotated[
        str,
        typer.Option(
            help="See a picture as a whole, in windows as the paper does (cut from 640 x 640), or "
            "in windows of its own resolution.",
            metavar="whole|paper|native",
        ),
    ] = "whole",
    window_side: Annotated[
        int | None,
        typer.Option(
            help="Side of a window in pixels of the picture; it is brought to the size that the "
            "model sees, so larger ones are faster and coarser.",
            metavar="PIXELS",
        ),
    ] = None,
    window_overlap: Annotated[
        float | None, typer.Option(help="Share of a window that the next one has, too.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Search folders within folders too.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip pictures that an equal run has finished.")
    ] = False,
    batch_size: Annotated[
        int, typer.Option(help="Pictures that go through the network together.")
    ] = 4,
    max_pixels: Annotated[
        int, typer.Option(help="Largest picture that is read, in pixels.")
    ] = 100_000_000,
    model: Model = "mini",
    share_prior: SharePrior = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Segment pictures by the names of things.

    For each picture STEM.jpg this writes STEM.labels.png (pixel value = index of the name, 255 or
    65535 = no name), STEM.overlay.jpg (colours and legend), and STEM.json (names, shares,
    confidence). A file that escnet did not write is never replaced, whatever it is called. Pictures
    that cannot be read do not stop the others; they are listed at the end and in failures.json, and
    the exit code is 1.
    """
    from escnet.cli.progress import shown_progress
    from escnet.data.picture_search import find_pictures
    from escnet.errors import ConfigError
    from escnet.files import make_folder
    from escnet.inference.batch import check_job, segment_files
    from escnet.inference.outputs import check_outputs, plan_outputs

    # everything cheap comes before the model, which takes seconds to load
    vocabulary = asked_vocabulary(classes, classes_file)
    if background:
        vocabulary = vocabulary.with_background()
    kinds = check_job(
        formats=[kind.strip() for kind in formats.split(",") if kind.strip()],
        resume=resume,
        void_below=void_below,
        max_pixels=max_pixels,
        batch_size=batch_size,
    )
    cut = asked_windows(windows, window_overlap, window_side)
    if share_prior and cut is not None:
        raise ConfigError(
            f"--share-prior {share_prior:g} needs pictures seen as a whole: leave out --windows"
        )
    found = find_pictures(sources, recursive=recursive)
    pictures = without_results(found.paths, sources)
    for line in found.told():
        print(f"escnet: {line}", file=sys.stderr)
    check_outputs(plan_outputs(pictures, out), out, kinds, classes_file=classes_file)
    make_folder(out)

    from escnet.inference.segmenter import Segmenter

    segmenter = Segmenter.load(model, device=device, dtype=dtype, share_prior=share_prior)
    with shown_progress(len(pictures)) as on_progress:
        report = segment_files(
            segmenter,
            pictures,
            vocabulary,
            out=out,
            formats=kinds,
            resume=resume,
            void_below=void_below,
            background=background,
            windows=cut,
            max_pixels=max_pixels,
            batch_size=batch_size,
            on_progress=on_progress,
        )
    _raise_if_lone_failure(report)
    if as_json:
        _print_json(report, segmenter.model, segmenter.weights_hash)
    else:
        _print_summary(report, out)
    if report.failures:
        raise typer.Exit(1)


def asked_vocabulary(classes: str | None, classes_file: Path | None) -> "Vocabulary":
    """The class names that --classes or --classes-file give.

    Raises:
        ConfigError: If both are given, or none.
        VocabularyError: If there is no name, or one is empty, repeated, or too long.
    """
    from escnet.errors import ConfigError

    if classes is not None and classes_file is not None:
        raise ConfigError("class names come from --classes and --classes-file: give one of them")
    if classes is not None:
        return vocabulary_of(classes)
    if classes_file is not None:
        return vocabulary_in(classes_file)
    raise ConfigError('no class names: pass --classes "road, sky" or --classes-file FILE')


def vocabulary_of(classes: str) -> "Vocabulary":
    """The class names of --classes: names between commas, or those of a file as "@FILE".

    Raises:
        VocabularyError: If there is no name, or one is empty, repeated, or too long.
    """
    from escnet.vocabulary import Vocabulary

    if classes.startswith("@"):
        return vocabulary_in(Path(classes[1:]))
    return Vocabulary.parse(classes)


def vocabulary_in(path: Path) -> "Vocabulary":
    """The class names in a file; a line on standard error says how it was read.

    Raises:
        VocabularyError: If the file cannot be read or has two readings, or its names have a fault.
    """
    from escnet.class_lists.read import read_class_list
    from escnet.vocabulary import Vocabulary

    class_list = read_class_list(path)
    vocabulary = Vocabulary.of(class_list)
    print(f"escnet: {class_list.summary}", file=sys.stderr)
    return vocabulary


def asked_windows(mode: str, overlap: float | None, side: int | None = None) -> "Windows | None":
    """The windows that --windows, --window-overlap and --window-side stand for.

    Raises:
        ConfigError: If there are none of this name, or a value is out of range.
    """
    from escnet.errors import ConfigError
    from escnet.inference.windows import MODES

    if mode not in MODES:
        raise ConfigError(f"windows {mode!r} are unknown: choose from {', '.join(MODES)}")
    chosen = MODES[mode]
    if side is None and overlap is None:
        return chosen
    if chosen is None:
        option = "--window-overlap" if side is None else "--window-side"
        raise ConfigError(f"{option} needs windows: pass --windows native or paper")
    return replace(
        chosen,
        window=chosen.window if side is None else side,
        overlap=chosen.overlap if overlap is None else overlap,
    )


def without_results(pictures: Sequence[Path], sources: Sequence[str]) -> list[Path]:
    """The pictures without label maps and what earlier runs made of them, unless named one by one.

    Raises:
        ImageError: If nothing is left.
    """
    from escnet.data.folder_layouts import label_maps_beside
    from escnet.errors import ImageError
    from escnet.files import is_ours, shown_path
    from escnet.segmentation import FORMATS

    named = {os.path.abspath(source) for source in sources}  # noqa: PTH100 -- must keep links
    results = (FORMATS["labels"], FORMATS["overlay"], *SHEET_SUFFIXES)
    kept = [
        path
        for path in pictures
        if os.path.abspath(path) in named  # noqa: PTH100
        or not (path.name.endswith(results) and is_ours(path))
    ]
    if not kept:
        raise ImageError(
            f"the sources hold only results of earlier runs, such as {pictures[0].name}: "
            "name the pictures themselves"
        )
    maps = {path for path in label_maps_beside(kept) if os.path.abspath(path) not in named}  # noqa: PTH100
    if maps:
        first = shown_path(min(maps))
        print(
            f"{len(maps)} label maps of other pictures left out, such as {first}", file=sys.stderr
        )
    return [path for path in kept if path not in maps]


def _raise_if_lone_failure(report: "JobReport") -> None:
    """One picture alone is the whole command, so its error is the command's."""
    from escnet.errors import ImageError

    if len(report.pictures) == 1 and report.failures:
        raise ImageError(report.failures[0].error)


def _print_json(report: "JobReport", model: str, weights_hash: str) -> None:
    from escnet.segmentation import to_json

    document = {
        "model": model,
        "weights_hash": weights_hash,
        "pictures": [_entry(picture) for picture in report.pictures if picture.status != "failed"],
        "failures": [{"picture": str(f.picture), "error": f.error} for f in report.failures],
    }
    sys.stdout.write(to_json(document).decode("utf-8"))


def _entry(picture: "PictureReport") -> dict[str, Any]:
    return {
        "picture": str(picture.picture),
        "status": picture.status,
        "outputs": {kind: str(path) for kind, path in picture.outputs.items()},
        **picture.summary,
    }


def _print_summary(report: "JobReport", out: Path) -> None:
    from escnet.files import shown_path

    if len(report.pictures) == 1:
        _print_table(report.pictures[0])
        return
    counts = dict.fromkeys(("written", "skipped", "failed"), 0)
    for picture in report.pictures:
        counts[picture.status] += 1
    line = f"{counts['written']} of {len(report.pictures)} pictures segmented"
    line += f", {counts['skipped']} already finished" if counts["skipped"] else ""
    line += f", {counts['failed']} failed" if counts["failed"] else ""
    print(f"{line}; results in {shown_path(out)}")
    for failure in report.failures:
        print(f"  {failure.error}")


def _print_table(picture: "PictureReport") -> None:
    from escnet.files import shown_path

    names = picture.summary["names"]
    width = max((len(entry["name"]) for entry in names), default=0)
    print(
        f"{shown_path(picture.picture)}: {picture.summary['width']} x {picture.summary['height']}"
        f" pixels{', already finished' if picture.status == 'skipped' else ''}"
    )
    for entry in names:
        confidence = f"confidence {entry['mean_confidence']:.2f}"
        print(f"  {entry['name']:{width}}  {entry['share']:6.1%}  {confidence}")
    if picture.summary["void"]["share"]:
        print(f"  {'(unlabelled)':{width}}  {picture.summary['void']['share']:6.1%}")
    for path in picture.outputs.values():
        print(shown_path(path))
