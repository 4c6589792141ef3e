"""`escnet compare`: pictures, names and several models in, a sheet of all their answers out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.segment import asked_vocabulary, asked_windows, without_results

if TYPE_CHECKING:
    from escnet.inference.comparison import ComparedModel

SHEET, NUMBERS = "comparison.png", "comparison.json"  # further sheets are comparison-2.png, ...


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
        typer.Option(help="Class names in a file: .txt, one a line, or .json, a list or object."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the sheet and the numbers.")] = Path(),
    background: Annotated[
        bool, typer.Option("--background", help="Add a class that wins where no name does.")
    ] = False,
    windows: Annotated[
        str,
        typer.Option(
            help="See a picture as a whole, in windows as the paper does, or of its own resolution.",
            metavar="whole|paper|native",
        ),
    ] = "whole",
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Search folders within folders too.")
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(help="Largest picture that is read, in pixels.")
    ] = 100_000_000,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="float32|bfloat16|float16")] = "float32",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Show what several models make of the same pictures, with time and memory.

    This writes comparison.png, a row for each picture and a column for each model, and
    comparison.json with the numbers. Each model runs in a process of its own, one after the other;
    times are taken after one warm-up, and a picture that cannot be read stops everything.
    """
    from escnet.annotations.files import make_folder, write_file
    from escnet.data.image import find_images, read_image
    from escnet.inference.comparison import check_models, compare_models
    from escnet.inference.sheet import reduced
    from escnet.segmentation import to_json

    # everything that can be wrong comes before the models, which take long
    vocabulary = asked_vocabulary(classes, classes_file)
    vocabulary = vocabulary.with_background() if background else vocabulary
    cut = asked_windows(windows, None)
    paths = _without_sheets(without_results(find_images(sources, recursive=recursive), sources))
    names = [model.strip() for model in (models or "").split(",") if model.strip()]
    check_models(names)
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
    document = to_json(_document(columns, paths, vocabulary.result_names, sheets))
    write_file(out / NUMBERS, document)
    if as_json:
        sys.stdout.write(document.decode("utf-8"))
    else:
        _print_paths([*sheets, out / NUMBERS])


def _without_sheets(paths: Sequence[Path]) -> list[Path]:
    ...
