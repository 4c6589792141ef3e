"""`escnet train RECIPE`: a recipe turned into a checkpoint."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.labelled_folder import say_reading

if TYPE_CHECKING:
    from escnet.training.pace import StepReport

_STEPS_BETWEEN_LINES = 25


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, such as recipes/mini.toml.")],
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/run"),
    cache: Annotated[Path, typer.Option(help="Where what frozen networks say is kept.")] = Path(
        "runs/cache"
    ),
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train a network as a recipe says.

    Ctrl-C and SIGTERM let the step finish and save the state; --resume goes on from there.
    """
    from escnet.training.recipe import read_recipe
    from escnet.training.run import train as run
    from escnet.training.stopping import Stopped

    settings = read_recipe(recipe, override or [])
    try:
        model = run(settings, out, cache=cache, resume=resume, on_folder=say_reading, on_step=_say)
    except Stopped as stopped:
        print(f"escnet: {stopped}", file=sys.stderr)
        raise typer.Exit(stopped.exit_code) from None
    print(f"checkpoint: {model}")


def _say(report: "StepReport") -> None:
    if report.step % _STEPS_BETWEEN_LINES == 0 or report.step == report.num_steps:
        remaining = timedelta(seconds=round(report.remaining))
        score = "" if report.miou is None else f", mIoU {100 * report.miou:.1f}"
        print(
            f"{report.stage} {report.step}/{report.num_steps}: "
            f"loss {report.loss:.3f}, rate {report.rate:.1e}{score}, {remaining} left, "
            f"{report.waiting:.0%} waiting for data",
            flush=True,
        )
