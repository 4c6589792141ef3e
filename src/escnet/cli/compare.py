"""`escnet compare`: pictures, names and several models in, a sheet of all their answers out."""

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.options import (
    AsJson,
    Background,
    Classes,
    ClassesFile,
    Device,
    Dtype,
    Exact,
    MaxPixels,
    Recursive,
    Sources,
    Threads,
    WindowsMode,
    check_machine,
    vocabulary_from_options,
    windows_from_options,
    without_results,
)
from escnet.data.limits import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from escnet.inference.figures.comparison import ComparedModel
    from escnet.vocabulary import Vocabulary

STEM = "escnet"  # further sheets are escnet-2.comparison.png, ...
SHEET_SUFFIX, NUMBERS_SUFFIX = ".comparison.png", ".comparison.json"


def compare(  # noqa: PLR0913, PLR0917 -- one argument for each option
    sources: Sources,
    models: Annotated[
        str | None,
        typer.Option(
            help="The models, as `escnet segment --model` names them.", metavar="NAME,NAME,..."
        ),
    ] = None,
    classes: Classes = None,
    classes_file: ClassesFile = None,
    out: Annotated[Path, typer.Option(help="Folder for the sheet and the numbers.")] = Path(),
    background: Background = False,
    windows: WindowsMode = "whole",
    recursive: Recursive = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    device: Device = "auto",
    exact: Exact = False,
    dtype: Dtype = "float32",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Show what several models make of the same pictures, with time and memory.

    This writes escnet.comparison.png, a row for each picture and a column for each model, and
    escnet.comparison.json with the numbers. Each model runs in a process of its own, one after the
    other; times are taken after one warm-up. A picture that cannot be read stops everything.
    """
    from escnet.annotations.json_text import to_marked_json
    from escnet.data.image import read_image
    from escnet.data.picture_search import find_images
    from escnet.files import check_replaceable, display_path, make_folder, write_file
    from escnet.inference.figures.comparison import check_models, compare_models
    from escnet.inference.figures.sheet import reduced
    from escnet.inference.options import SegmentOptions

    # everything that can be wrong comes before the models, which take long
    vocabulary = vocabulary_from_options(classes, classes_file, background=background)
    options = SegmentOptions(
        windows=windows_from_options(windows, None), max_pixels=max_pixels, exact=exact
    )
    check_machine(device, dtype, threads)
    paths = without_results(find_images(sources, recursive=recursive), sources)
    names = [model.strip() for model in (models or "").split(",") if model.strip()]
    check_models(names)
    check_replaceable([*_sheet_paths(out, len(paths)), out / f"{STEM}{NUMBERS_SUFFIX}"])
    pictures = [reduced(read_image(path, max_pixels=max_pixels)) for path in paths]
    make_folder(out)

    columns = []
    for column in compare_models(
        names,
        paths,
        vocabulary,
        options=options,
        device=device,
        dtype=dtype,
        threads=threads,
    ):
        columns.append(column)
        if not as_json:
            _print_column(column)
    sheets = _write_sheets(out, pictures, paths, columns, vocabulary)
    numbers = out / f"{STEM}{NUMBERS_SUFFIX}"
    document = to_marked_json(_document(columns, paths, vocabulary.result_names, sheets))
    write_file(numbers, document)
    _remove_further_sheets(out, len(sheets))
    if as_json:
        sys.stdout.write(document.decode("utf-8"))
    else:
        for path in (*sheets, numbers):
            print(display_path(path))


def _sheet_paths(out: Path, num_pictures: int) -> list[Path]:
    """The sheets' files: one, unless there are many pictures."""
    from escnet.inference.figures.comparison_sheet import MOST_ROWS

    numbers = range(1, -(-num_pictures // MOST_ROWS) + 1)
    return [out / f"{STEM}{'' if n == 1 else f'-{n}'}{SHEET_SUFFIX}" for n in numbers]


def _write_sheets(
    out: Path,
    pictures: "Sequence[UInt8[np.ndarray, '_ _ 3']]",
    paths: Sequence[Path],
    columns: "Sequence[ComparedModel]",
    vocabulary: "Vocabulary",
) -> list[Path]:
    from escnet.files import write_file
    from escnet.inference.figures.comparison_sheet import MOST_ROWS, draw_comparison

    sheets = _sheet_paths(out, len(pictures))
    for sheet, first in zip(sheets, range(0, len(pictures), MOST_ROWS), strict=True):
        rows = slice(first, first + MOST_ROWS)
        titles = [path.name for path in paths[rows]]
        content = draw_comparison(
            pictures[rows],
            titles,
            columns,
            vocabulary.result_names,
            first=first,
            own_colours=vocabulary.colours,
        )
        write_file(sheet, content)
    return sheets


def _remove_further_sheets(out: Path, num_sheets: int) -> None:
    """Delete what an earlier run of more pictures left, or it would pass for a part of this one."""
    from escnet.files import is_ours

    sheet = re.compile(rf"{STEM}-(?P<number>[1-9][0-9]*){re.escape(SHEET_SUFFIX)}")
    for path in out.iterdir():
        match = sheet.fullmatch(path.name)
        if match is not None and int(match["number"]) > num_sheets and is_ours(path):
            with suppress(OSError):  # a folder, or another user's
                path.unlink()


def _document(
    columns: "Sequence[ComparedModel]",
    paths: Sequence[Path],
    names: Sequence[str],
    sheets: Sequence[Path],
) -> dict[str, object]:
    from escnet.inference.figures.comparison import FORMAT, MEMORY_MEANS, TIME_MEANS

    return {
        "format": FORMAT,
        "names": list(names),
        "sheets": [str(path) for path in sheets],
        "seconds_means": TIME_MEANS,
        "peak_memory_means": MEMORY_MEANS,
        "models": [column.summary(paths) for column in columns],
    }


def _print_column(column: "ComparedModel") -> None:
    from escnet.inference.figures.comparison_sheet import memory_text

    print(
        f"{column.model} ({column.method}): {column.mean_seconds:.2f} s a picture, "
        f"{memory_text(column.peak_memory)} at most, {column.load_seconds:.1f} s to load"
    )
