"""`escnet teach`: a few masks in, labels of a names file that know what they show."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.labelled_folder import (
    ClassesFile,
    IdMap,
    Ignore,
    Layout,
    Offset,
    Split,
    ZeroIs,
    folder_options,
    say_reading,
)
from escnet.cli.options import AsJson, Device, Model, Threads, check_machine

if TYPE_CHECKING:
    from escnet.data.reading import FolderOptions
    from escnet.teaching.examples import ExampleFile
    from escnet.teaching.teach import Lesson
    from escnet.vocabulary import Vocabulary


def teach(  # noqa: PLR0913, PLR0917 -- one argument for each option
    file: Annotated[
        Path, typer.Argument(help="The names file; it is made if it is not there.", metavar="FILE")
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="The label that is taught; with --from, one of those that are; repeatable.",
            metavar="LABEL",
        ),
    ] = None,
    picture: Annotated[
        list[Path] | None,
        typer.Option(help="A picture that shows the label; repeatable.", metavar="PICTURE"),
    ] = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(
            help="Its mask, of the same size, 0 where the label is not; one for each --picture.",
            metavar="MASK",
        ),
    ] = None,
    value: Annotated[
        int | None,
        typer.Option(help="The value of the label in the masks, if they hold several.", min=0),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A folder of pictures with label maps, whose names are taught.",
            metavar="FOLDER",
        ),
    ] = None,
    most: Annotated[
        int | None, typer.Option(help="Pictures that a label is taught by.", metavar="N", min=1)
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(help="A label that forgets what it was taught; repeatable.", metavar="LABEL"),
    ] = None,
    layout: Layout = None,
    split: Split = None,
    classes_file: ClassesFile = None,
    ignore: Ignore = None,
    zero_is: ZeroIs = None,
    offset: Offset = None,
    id_map: IdMap = None,
    model: Model = "mini",
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Teach labels by a few pictures with masks, in seconds and without training.

    FILE says afterwards what each label was taught, and everything that takes class names takes it.
    The network stays as it is: a label gets a vector that is asked in place of its name. Where two
    or more pictures show a label, each is tried with what the others teach, and a label whose name
    alone does better keeps its name.
    """
    from escnet.annotations.json_text import to_json
    from escnet.files import display_path
    from escnet.vocabulary import Vocabulary

    check_machine(device, "float32", threads)
    if file.exists():
        Vocabulary.check_saveable(file)
    vocabulary = Vocabulary.read(file) if file.exists() else None
    vocabulary = _without(vocabulary, forget or (), file)
    lessons: list[Lesson] = []
    if folder is not None or picture or mask or not forget:
        options = folder_options(
            layout=layout,
            split=split,
            classes_file=classes_file,
            ignore=ignore,
            zero_is=zero_is,
            offset=offset,
            id_map=id_map,
        )
        examples = _examples(label or (), picture or (), mask or (), value, folder, options)
        if vocabulary is None:
            vocabulary = Vocabulary.of(label or list(examples[0].names))
        vocabulary, lessons = _taught(
            vocabulary, examples, label, most, model=model, device=device, threads=threads
        )
    if vocabulary is not None:
        vocabulary.save(file)
    if as_json:
        document = {"file": str(file), "labels": [one._asdict() for one in lessons]}
        sys.stdout.write(to_json(document).decode("utf-8"))
        return
    for name in forget or ():
        print(f"{name}: what it was taught is forgotten")
    for lesson in lessons:
        print(_said(lesson))
    print(display_path(file))


def _without(
    vocabulary: "Vocabulary | None", labels: Sequence[str], file: Path
) -> "Vocabulary | None":
    """The vocabulary without what some labels were taught.

    Raises:
        ConfigError: If they were taught nothing.
        VocabularyError: If there is no such label.
    """
    from escnet.errors import ConfigError
    from escnet.files import display_path
    from escnet.teaching.teach import forget

    for label in labels:
        if vocabulary is None:
            raise ConfigError(f"{display_path(file)} is not there: nothing can be forgotten")
        vocabulary = forget(vocabulary, label)
    return vocabulary


def _examples(
    labels: Sequence[str],
    pictures: Sequence[Path],
    masks: Sequence[Path],
    value: int | None,
    folder: Path | None,
    options: "FolderOptions",
) -> "list[ExampleFile]":
    """The examples that the options name.

    Raises:
        ConfigError: If they name none, or in both ways.
        DatasetError: If the folder cannot be read.
    """
    from escnet.data.folder import FolderDataset
    from escnet.errors import ConfigError
    from escnet.teaching.examples import examples_in_folder, examples_of_masks

    if folder is not None and (pictures or masks):
        raise ConfigError("--from and --picture are two ways to teach: give one of them")
    if folder is not None:
        dataset = FolderDataset.read(folder, options)
        say_reading(dataset)
        return list(examples_in_folder(dataset))
    if not pictures and not masks:
        raise ConfigError(
            "nothing to teach by: give --label LABEL with --picture and --mask, or --from FOLDER"
        )
    if len(labels) != 1:
        raise ConfigError(f"--picture and --mask teach one label, not {len(labels)}: give --label")
    return examples_of_masks(labels[0], pictures, masks, value=value)


def _taught(
    vocabulary: "Vocabulary",
    examples: "list[ExampleFile]",
    labels: Sequence[str] | None,
    most: int | None,
    *,
    model: str,
    device: str,
    threads: int | None,
) -> "tuple[Vocabulary, list[Lesson]]":
    from escnet.files import display_path
    from escnet.inference.segmenter import Segmenter
    from escnet.teaching.teach import MOST_EXAMPLES, teach

    return teach(
        Segmenter.load(model, device=device, threads=threads),
        vocabulary,
        examples,
        labels=labels,
        most=MOST_EXAMPLES if most is None else most,
        on_example=lambda one: print(display_path(one.picture), file=sys.stderr),
    )


def _said(lesson: "Lesson") -> str:
    """One line about a label."""
    from escnet.class_lists.class_list import counted

    said = f"{lesson.label}: taught by {counted(len(lesson.pictures), 'picture')}"
    if lesson.iou_by_name is None or lesson.iou_as_taught is None:
        return f"{said}; two or more tell how well"
    ious = f"IoU {lesson.iou_by_name:.1%} by name, {lesson.iou_as_taught:.1%} as taught"
    if not lesson.is_taught:
        return f"{lesson.label}: keeps its name alone, which does better on its pictures: {ious}"
    return f"{said}: {ious}, each picture by what the others teach"
