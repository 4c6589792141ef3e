"""`escnet compare`: pictures, names and several models in, a sheet of all their answers out."""

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.options import Device, Dtype
from escnet.cli.segment import asked_vocabulary, asked_windows, without_results

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from escnet.inference.comparison import ComparedModel

STEM = "escnet"  # further sheets are escnet-2.comparison.png, ...
SHEET_SUFFIX, NUMBERS_SUFFIX = ".comparison.png", ".comparison.json"


def compare(  # noqa: PLR0913, PLR0917 -- one argument for each option
    sources: Annotated[
        list[str], typer.Argument(help='Pictures, folders, patterns such as "holiday/*.jpg".')
    ],
    models: Annotated[
        str | None,
        typer.Option(
            help="The models, as `escnet segment --model` names them.", metavar="NAME,NAME,..."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help='Class names, such as "road, car=car|truck|van, sky".'),
    ] = None,
    classes_file: Annotated[
        Path | None,
        typer.Option(help="Class names in a file: one a line, JSON, or what your tool wrote."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the sheet and the numbers.")] = Path(),
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
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Search folders within folders too.")
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(help="Largest picture that is read, in pixels.")
    ] = 100_000_000,
    device: Device = "auto",
    dtype: Dtype = "float32",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Show what several models make of the same pictures, with time and memory.

    This writes escnet.comparison.png, a row for each picture and a column for each model, and
    escnet.comparison.json with the numbers. Each model runs in a process of its own, one after the
    other; times are taken after one warm-up. A picture that cannot be read stops everything.
    """
    from escnet.data.image import read_image
    from escnet.data.picture_search import find_images
    from escnet.files import check_replaceable, make_folder, shown_path, write_file
    from escnet.inference.comparison import check_models, compare_models
    from escnet.inference.sheet import reduced
    from escnet.segmentation import to_marked_json

    # everything that can be wrong comes before the models, which take long
    vocabulary = asked_vocabulary(classes, classes_file)
    vocabulary = vocabulary.with_background() if background else vocabulary
    cut = asked_windows(windows, None)
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
        windows=cut,
        max_pixels=max_pixels,
        device=device,
        dtype=dtype,
    ):
        columns.append(column)
        if not as_json:
            _print_column(column)
    sheets = _write_sheets(out, pictures, paths, columns, vocabulary.result_names)
    numbers = out / f"{STEM}{NUMBERS_SUFFIX}"
    document = to_marked_json(_document(columns, paths, vocabulary.result_names, sheets))
    write_file(numbers, document)
    _remove_further_sheets(out, len(sheets))
    if as_json:
        sys.stdout.write(document.decode("utf-8"))
    else:
        for path in (*sheets, numbers):
            print(shown_path(path))


def _sheet_paths(out: Path, num_pictures: int) -> list[Path]:
    """The sheets' files: one, unless there are many pictures."""
    from escnet.inference.comparison_sheet import MOST_ROWS

    numbers = range(1, -(-num_pictures // MOST_ROWS) + 1)
    return [out / f"{STEM}{'' if n == 1 else f'-{n}'}{SHEET_SUFFIX}" for n in numbers]


def _write_sheets(
    out: Path,
    pictures: "Sequence[UInt8[np.ndarray, '_ _ 3']]",
    paths: Sequence[Path],
    columns: "Sequence[ComparedModel]",
    names: Sequence[str],
) -> list[Path]:
    from escnet.files import write_file
    from escnet.inference.comparison_sheet import MOST_ROWS, draw_comparison

    sheets = _sheet_paths(out, len(pictures))
    for sheet, first in zip(sheets, range(0, len(pictures), MOST_ROWS), strict=True):
        rows = slice(first, first + MOST_ROWS)
        titles = [path.name for path in paths[rows]]
        write_file(sheet, draw_comparison(pictures[rows], titles, columns, names, first=first))
    return sheets


def _remove_further_sheets(out: Path, num_sheets: int) -> None:
    """Delete what an earlier run of more pictures left, or it would pass for a part of this one."""
    from escnet.files import is_ours

    sheet = re.compile(rf"{STEM}-(?P<number>[1-9][0-9]*){re.escape(SHEET_SUFFIX)}")
    for path in out.iterdir():
        found = sheet.fullmatch(path.name)
        if found is not None and int(found["number"]) > num_sheets and is_ours(path):
            with suppress(OSError):  # a folder, or another user's
                path.unlink()


def _document(
    columns: "Sequence[ComparedModel]",
    paths: Sequence[Path],
    names: Sequence[str],
    sheets: Sequence[Path],
) -> dict[str, object]:
    from escnet.inference.comparison import MEMORY_MEANS, TIME_MEANS

    return {
        "names": list(names),
        "sheets": [str(path) for path in sheets],
        "seconds_means": TIME_MEANS,
        "peak_memory_means": MEMORY_MEANS,
        "models": [column.summary(paths) for column in columns],
    }


def _print_column(column: "ComparedModel") -> None:
    from escnet.inference.comparison_sheet import shown_memory

    print(
        f"{column.model} ({column.method}): {column.mean_seconds:.2f} s a picture, "
        f"{shown_memory(column.peak_memory)} at most, {column.load_seconds:.1f} s to load"
    )
