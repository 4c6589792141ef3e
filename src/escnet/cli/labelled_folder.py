"""Options that say how a folder of pictures with label maps is to be read."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.files import display_path

if TYPE_CHECKING:
    from escnet.data.folder import FolderDataset
    from escnet.data.reading import FolderOptions

_MOST_LOOKED_AT = 200  # pictures of a source; `escnet data check` looks at all

Layout = Annotated[
    str | None,
    typer.Option(
        help="Which reading of a folder is meant, where it allows several.",
        metavar="folders|beside|coco|cvat|label-studio|datasets",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="Which part of a folder is read, where it has several.", metavar="NAME"),
]
ClassesFile = Annotated[
    Path | None,
    typer.Option(help="The class names of a folder, in label order.", metavar="FILE"),
]
Ignore = Annotated[
    list[int] | None,
    typer.Option(
        help="A value of label maps that counts nowhere, besides 255; repeatable.",
        metavar="VALUE",
        min=0,
        max=65_535,
    ),
]
ZeroIs = Annotated[
    str | None,
    typer.Option(
        help="What 0 is in label maps: the first class, or nothing, and the classes begin with 1.",
        metavar="first|unlabelled|background",
    ),
]
Offset = Annotated[
    int | None,
    typer.Option(
        help="The value of the first class in label maps.", metavar="VALUE", min=0, max=65_535
    ),
]
IdMap = Annotated[
    Path | None,
    typer.Option(
        help='Lines such as "7: road", or a JSON object, from values of label maps to class names, '
        '"ignore", or "background".',
        metavar="FILE",
    ),
]


def folder_options(
    *,
    layout: str | None,
    split: str | None,
    classes_file: Path | None,
    ignore: list[int] | None,
    zero_is: str | None,
    offset: int | None,
    id_map: Path | None,
) -> "FolderOptions":
    """What the options say.

    Raises:
        ConfigError: If two contradict each other.
    """
    from escnet.data.conventions import Conventions, read_id_map
    from escnet.data.reading import FolderOptions

    return FolderOptions(
        layout=layout,
        split=split,
        class_file=classes_file,
        conventions=Conventions.declared(
            ignore=tuple(ignore or ()),
            zero_is=zero_is,
            offset=offset,
            ids=None if id_map is None else read_id_map(id_map),
        ),
    )


def say_reading(dataset: "FolderDataset") -> None:
    """Say how a folder is read, and what makes one doubt that its truth is what its owner thinks.

    Args:
        dataset: The folder; some pictures of each of its sources are looked at.
    """
    from escnet.data.doubts import doubts_about

    shown = display_path(dataset.root)
    print(f"{shown} is read as {dataset.layout}", file=sys.stderr)
    for doubt in doubts_about(dataset, _MOST_LOOKED_AT):
        print(f"warning: {shown}: {doubt}", file=sys.stderr)
