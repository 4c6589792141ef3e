"""Options that several commands have."""

from typing import Annotated

import typer

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
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps")]
Dtype = Annotated[str, typer.Option(metavar="float32|bfloat16|float16")]
