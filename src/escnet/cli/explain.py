"""`escnet explain`: one picture and one class in, a sheet of what led to the answer out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.options import (
    AsJson,
    Background,
    Device,
    Dtype,
    MaxPixels,
    Model,
    SharePrior,
    Threads,
    check_machine,
    vocabulary_of,
)
from escnet.data.limits import MAX_PIXELS

if TYPE_CHECKING:
    from escnet.inference.figures.explanation import Explanation
    from escnet.vocabulary import Vocabulary

SHEET_SUFFIX, NUMBERS_SUFFIX = ".explain.png", ".explain.json"


def explain(  # noqa: PLR0913, PLR0917 -- one argument for each option
    picture: Annotated[Path, typer.Argument(help="The picture.")],
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class",
            help='The class name to follow, such as "cup" or "cup=cup|mug".',
            metavar="NAME",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help='Names it competes with, such as "table, spoon"; if not given, the background.'
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the sheet and the numbers.")] = Path(),
    background: Background = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    model: Model = "mini",
    share_prior: SharePrior = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Show how a class was found in a picture.

    Of PICTURE STEM.jpg this writes STEM.explain.png, a sheet with the correlation, the probability,
    regions, points, boxes and masks of each ESC-Block, and the class's map after it with SAM and
    without; and STEM.explain.json, the numbers. For a training-free model it shows the correlation.
    """
    from escnet.annotations.json_text import to_marked_json
    from escnet.data.image import read_image
    from escnet.files import check_replaceable, make_folder, write_file
    from escnet.inference.methods.model_name import ModelName
    from escnet.inference.options import SegmentOptions
    from escnet.vocabulary import Vocabulary

    # everything cheap comes before the model, which takes seconds to load
    vocabulary, name = _names_to_explain(class_name, classes)
    vocabulary = Vocabulary.of(vocabulary, has_background=background)
    SegmentOptions(share_prior=share_prior, max_pixels=max_pixels)
    ModelName.parse(model)
    check_machine(device, dtype, threads)
    pixels = read_image(picture, max_pixels=max_pixels)
    paths = [out / f"{picture.stem}{suffix}" for suffix in (SHEET_SUFFIX, NUMBERS_SUFFIX)]
    check_replaceable(paths)
    make_folder(out)

    from escnet.inference.figures.explainer import explain as explain_class
    from escnet.inference.figures.explanation_sheet import draw_explanation
    from escnet.inference.segmenter import Segmenter

    segmenter = Segmenter.load(
        model, device=device, dtype=dtype, share_prior=share_prior, threads=threads
    )
    explanation = explain_class(segmenter, pixels, vocabulary, name)
    document = to_marked_json({"picture": str(picture), **explanation.summary()})
    write_file(paths[0], draw_explanation(explanation))
    write_file(paths[1], document)
    if as_json:
        sys.stdout.write(document.decode("utf-8"))
    else:
        _print_summary(picture, explanation, paths)


def _names_to_explain(class_name: str | None, classes: str | None) -> "tuple[Vocabulary, str]":
    """All class names, and the one to follow; alone it competes with the background."""
    from escnet.errors import ConfigError
    from escnet.vocabulary import Vocabulary

    if class_name is None:
        raise ConfigError('no class is given: pass --class "cup"')
    followed = Vocabulary.parse(class_name)
    if len(followed) != 1:
        raise ConfigError(
            f"--class {class_name!r} holds {len(followed)} class names: "
            "give one, and those it competes with as --classes"
        )
    name, queries = followed.labels[0], followed.queries
    if classes is None:
        return followed.with_background(), name
    by_label = vocabulary_of(classes).queries_by_label
    if name not in by_label:
        return Vocabulary.of({name: queries, **by_label}), name
    if by_label[name] == (name,):
        by_label[name] = queries
    elif queries != (name,) and set(queries) != set(by_label[name]):
        raise ConfigError(
            f"--class and --classes give {name!r} different synonyms, {'|'.join(queries)!r} and "
            f"{'|'.join(by_label[name])!r}: write them in one of the two"
        )
    return Vocabulary.of(by_label), name


def _print_summary(picture: Path, explanation: "Explanation", paths: list[Path]) -> None:
    from escnet.files import display_path

    print(
        f"{display_path(picture)}: {explanation.name} by {explanation.model} ({explanation.method})"
    )
    for number, block in enumerate(explanation.blocks, 1):
        foreground = (block.region >= 0).mean()
        print(f"  block {number}: foreground {foreground:.1%} in {len(block.regions)} regions")
    print(f"  wins {explanation.answer.mask.mean():.1%} of the pixels", end="")
    if explanation.answer_without is not None:
        print(f", {explanation.answer_without.mask.mean():.1%} without SAM", end="")
    print()
    for path in paths:
        print(display_path(path))
