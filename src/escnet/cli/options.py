"""Options that several commands have, and what they stand for."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escnet.inference.label_maps.windows import Windows
    from escnet.vocabulary import Vocabulary

Model = Annotated[
    str, typer.Option(help="Built-in model, folder, or hub id.", metavar="NAME|FOLDER|HUB-ID")
]
SharePrior = Annotated[
    float | None,
    typer.Option(
        help="How much a name counts by the share of a whole picture that it seems to cover, 0 for "
        "not at all; if not given, what the model says.",
        metavar="P",
    ),
]
CalibratedBy = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="Confidences by this file of escnet calibrate, or the model's probabilities as they "
        "are; if not given, by the model's own file.",
        metavar="FILE|none",
    ),
]
Sources = Annotated[
    list[str], typer.Argument(help='Pictures, folders, patterns such as "holiday/*.jpg".')
]
Classes = Annotated[
    str | None, typer.Option(help='Class names, such as "road, car=car|truck|van, sky".')
]
ClassesFile = Annotated[
    Path | None,
    typer.Option(help="Class names in a file: one a line, JSON, or what your tool wrote."),
]
Background = Annotated[
    bool, typer.Option("--background", help="Add a class for what none of the names explains.")
]
WindowsMode = Annotated[
    str,
    typer.Option(
        help="See a picture as a whole, in windows as the paper does (cut from 640 x 640), or "
        "in windows of its own resolution.",
        metavar="whole|paper|native",
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", help="Search folders within folders too.")]
MaxPixels = Annotated[int, typer.Option(help="Largest picture that is read, in pixels.")]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Let every name take part in all work; else those that seem to be nowhere in the "
        "picture are rejected early, which is faster for long lists.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:1|mps")]
Dtype = Annotated[str, typer.Option(metavar="float32|bfloat16|float16")]
Limit = Annotated[int | None, typer.Option(help="Only the first N pictures.", metavar="N", min=1)]
Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads to compute with; if not given, as many as this process may use.",
        metavar="N",
    ),
]


def verb_group(about: str) -> typer.Typer:
    """A verb that has verbs of its own, such as `escnet weights show`.

    Args:
        about: The first line of its help.
    """
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help, because importing rich would double its time
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def vocabulary_from_options(
    classes: str | None, classes_file: Path | None, *, background: bool
) -> "Vocabulary":
    """The class names that --classes or --classes-file give.

    Raises:
        ConfigError: If both are given, or none.
        VocabularyError: If there is no name, or one is empty, repeated, or too long.
    """
    from escnet.errors import ConfigError

    if classes is not None and classes_file is not None:
        raise ConfigError("class names come from --classes and --classes-file: give one of them")
    if classes is not None:
        return vocabulary_of(classes, background=background)
    if classes_file is not None:
        return vocabulary_in(classes_file, background=background)
    raise ConfigError('no class names: pass --classes "road, sky" or --classes-file FILE')


def vocabulary_of(classes: str, *, background: bool = False) -> "Vocabulary":
    """The class names of --classes: names between commas, or those of a file as "@FILE".

    Args:
        classes: What was asked for.
        background: Whether a class for the rest is wanted.

    Raises:
        VocabularyError: If there is no name, or one is empty, repeated, or too long.
    """
    from escnet.vocabulary import Vocabulary

    if classes.startswith("@"):
        return vocabulary_in(Path(classes[1:]), background=background)
    return Vocabulary.parse(classes, has_background=background)


def vocabulary_in(path: Path, *, background: bool = False) -> "Vocabulary":
    """The class names in a file; a line on standard error says how it was read.

    Args:
        path: Of the file.
        background: Whether a class for the rest is wanted.

    Raises:
        VocabularyError: If the file cannot be read or has two readings, or its names have a fault.
    """
    from escnet.class_lists.read import read_class_list
    from escnet.vocabulary import Vocabulary

    class_list = read_class_list(path)
    vocabulary = Vocabulary.of(class_list, has_background=background)
    print(f"escnet: {class_list.summary(has_background=background)}", file=sys.stderr)
    return vocabulary


def windows_from_options(
    mode: str, overlap: float | None, side: int | None = None
) -> "Windows | None":
    """The windows that --windows, --window-overlap and --window-side stand for.

    Raises:
        ConfigError: If there are none of this name, or a value is out of range.
    """
    from escnet.errors import ConfigError
    from escnet.inference.label_maps.windows import windows_of

    chosen = windows_of(mode)
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


def check_machine(device: str, dtype: str, threads: int | None) -> None:
    """Refuse what --device, --dtype and --threads cannot be, before anything takes long.

    Raises:
        ConfigError: If one is unknown.
    """
    from escnet.inference.machine.device import check_placement
    from escnet.inference.machine.threads import check_threads

    check_placement(device, dtype)
    check_threads(threads)


def pictures_from_sources(sources: Sequence[str], *, recursive: bool) -> list[Path]:
    """The pictures that sources on this machine name; standard error tells what is passed over.

    Raises:
        ImageError: If a source matches nothing.
    """
    from escnet.data.picture_search import find_pictures

    search = find_pictures(sources, recursive=recursive)
    pictures = without_results(search.paths, sources)
    for line in search.remarks():
        print(f"escnet: {line}", file=sys.stderr)
    return pictures


def without_results(pictures: Sequence[Path], sources: Sequence[str]) -> list[Path]:
    """The pictures without label maps and what earlier runs made of them, unless named one by one.

    Raises:
        ImageError: If nothing is left.
    """
    from escnet.data.folder_layouts import label_maps_beside
    from escnet.errors import ImageError
    from escnet.files import display_path, is_ours

    named = {os.path.abspath(source) for source in sources}  # noqa: PTH100 -- must keep links
    kept = [
        path
        for path in pictures
        if os.path.abspath(path) in named or not is_ours(path)  # noqa: PTH100
    ]
    if not kept:
        raise ImageError(
            f"the sources hold only results of earlier runs, such as {pictures[0].name}: "
            "name the pictures themselves"
        )
    maps = {path for path in label_maps_beside(kept) if os.path.abspath(path) not in named}  # noqa: PTH100
    if maps:
        first = display_path(min(maps))
        print(
            f"label maps of other pictures left out: {len(maps)}, such as {first}", file=sys.stderr
        )
    return [path for path in kept if path not in maps]
