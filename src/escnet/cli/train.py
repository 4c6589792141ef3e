"""`escnet train RECIPE`: a recipe turned into a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escnet.training.loop import Progress

_STEPS_BETWEEN_LINES = 25


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, such as recipes/mini.toml.")],
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/run"),
    cache: Annotated[Path, typer.Option(help="Where frozen towers' feature maps are kept.")] = Path(
        "runs/cache"
    ),
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train a network as a recipe says."""
    from escnet.training.config import read_recipe
    from escnet.training.run import train as run

    settings = read_recipe(recipe, override or [])
    model = run(settings, out, cache=cache, resume=resume, on_step=_say)
    print(f"checkpoint: {model}")


def _say(progress: "Progress") -> None:
    if progress.step % _STEPS_BETWEEN_LINES == 0 or progress.step == progress.num_steps:
        print(
            f"{progress.phase} {progress.step}/{progress.num_steps} "
            f"loss {progress.loss:.3f} {progress.seconds:.0f} s",
            flush=True,
        )
