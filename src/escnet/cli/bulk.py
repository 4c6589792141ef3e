"""Options of commands that can work on a Ray cluster, and what they stand for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escnet.bulk.cluster import Workforce
    from escnet.inference.segmenter import Segmenter

_PANEL = "Many machines (docs: Segment millions)"

Engine = Annotated[
    str,
    typer.Option(
        help="Work in this process, or on the workers of a Ray cluster.",
        metavar="local|ray",
        rich_help_panel=_PANEL,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="The Ray cluster; if not given, one is started on this machine.",
        metavar="auto|HOST:PORT",
        rich_help_panel=_PANEL,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Workers, each with a model; if not given, one for each GPU, or else for each "
        "processor, or each --threads of them.",
        metavar="N",
        min=1,
        rich_help_panel=_PANEL,
    ),
]


def workforce_from_options(
    engine: str, address: str | None, workers: int | None, threads: int | None, device: str
) -> "Workforce | None":
    """The workers that --engine, --address, --workers and --threads stand for; None for no engine.

    Raises:
        ConfigError: If the engine is unknown or not installed, or an option needs one.
    """
    from escnet.errors import ConfigError
    from escnet.extras import is_installed

    if engine not in {"local", "ray"}:
        raise ConfigError(f"no engine {engine!r}: choose from local, ray")
    if engine == "local":
        for option, value in (("--address", address), ("--workers", workers)):
            if value is not None:
                raise ConfigError(f"{option} {value} needs a cluster: add --engine ray")
        return None
    if not is_installed("ray"):
        raise ConfigError("ray is not installed: pip install 'escnet[ray]'")
    if device.partition(":")[2]:
        raise ConfigError(
            f"--device {device} is one GPU of a machine, but Ray shares them out: give --device "
            "cuda, or leave it out"
        )
    from escnet.bulk.cluster import Workforce

    return Workforce(address=address, workers=workers, threads=threads, uses_gpu=device != "cpu")


def find_anywhere(sources: Sequence[str], *, recursive: bool) -> list[Path]:
    """The pictures that addresses in buckets and sources on this machine name, each once.

    Raises:
        ImageError: If one names none.
    """
    from escnet.bulk.places import find_in_bucket, is_address
    from escnet.cli.options import pictures_from_sources

    here = [source for source in sources if not is_address(source)]
    pictures = pictures_from_sources(here, recursive=recursive) if here else []
    for source in sources:
        if is_address(source):
            pictures += find_in_bucket(source, recursive=recursive)
    return list(dict.fromkeys(pictures))


def segmenter_for_workers(
    model: str,
    device: str,
    dtype: str,
    share_prior: float | None = None,
    calibration: str | None = None,
) -> "Segmenter":
    """A segmenter of this process, which has no GPU as a rule, that workers load as it is asked.

    Raises:
        WeightsError: If the weights are not here, damaged, or of another kind.
    """
    from dataclasses import replace

    from escnet.inference.segmenter import Segmenter

    segmenter = Segmenter.load(
        model, device="cpu", dtype=dtype, share_prior=share_prior, calibration=calibration
    )
    if segmenter.reference is not None:
        segmenter.reference = replace(segmenter.reference, device=device)
    return segmenter
