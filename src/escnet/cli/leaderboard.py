"""`escnet leaderboard`: the published scores of the field, and where results stand among them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.options import AsJson

if TYPE_CHECKING:
    from escnet.evaluation.leaderboard import Entry, PublishedTable


def leaderboard(
    benchmark: Annotated[
        str | None, typer.Argument(help="Such as a-150; without one, all, in the paper's order.")
    ] = None,
    result: Annotated[
        list[Path] | None,
        typer.Option(help="A result of `escnet evaluate`; repeatable.", metavar="RESULT.json"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the scores that were published, and where results stand among them.

    A result has a rank only if it follows the benchmark's own protocol on all its pictures; if not,
    the differences are listed. Without a BENCHMARK, each result is shown under its own.
    """
    from escnet.evaluation.leaderboard import check_published, published_table, standings
    from escnet.evaluation.result import EvalResult

    results = [EvalResult.read(path) for path in result or ()]
    names = [benchmark] if benchmark else list(dict.fromkeys(r.benchmark for r in results))
    for name in names:
        check_published(name)
    boards = {
        name: standings(name, [r for r in results if benchmark or r.benchmark == name])
        for name in names
    }
    table = published_table()
    if as_json:
        print(json.dumps(_document(table, boards), indent=1))
        return
    if not boards:
        _print_all(table)
    for name, entries in boards.items():
        _print_board(name, entries, table.source)


def _document(table: "PublishedTable", boards: "dict[str, list[Entry]]") -> dict[str, object]:
    if boards:
        entries = {name: [asdict(entry) for entry in board] for name, board in boards.items()}
        return {"source": table.source, "benchmarks": entries}
    return {
        "source": table.source,
        "systems": [
            {
                **system.model_dump(mode="json", exclude={"scores"}),
                "scores": {
                    name: None if score is None else round(score / 100, 4)
                    for name, score in zip(table.benchmarks, system.scores, strict=True)
                },
            }
            for system in table.systems
        ],
    }


def _print_all(table: "PublishedTable") -> None:
    rows = [
        (
            system.system, system.built_on, system.training, f"{system.venue} {system.year}",
            *("-" if score is None else f"{score:.1f}" for score in system.scores),
        )
        for system in table.systems
    ]  # fmt: skip
    header = ("system", "built on", "trained on", "published", *table.benchmarks)
    _print_table(header, rows, num_text=4)
    print(f"mIoU in percent, from {table.source}.")
    for system in table.systems:
        if system.note:
            print(f"{system.system}: {system.note}.")


def _print_board(name: str, entries: "Sequence[Entry]", source: str) -> None:
    rows = [
        (
            "-" if entry.rank is None else str(entry.rank),
            f"{100 * entry.score:.1f}",
            f"> {entry.name}" if entry.is_ours else f"  {entry.name}",
            entry.built_on,
            entry.trained_on,
            entry.published,
            entry.rule,
        )
        for entry in entries
    ]
    print(f"{name}, mIoU in percent; published scores from {source}")
    header = ("rank", "mIoU", "  system", "built on", "trained on", "published", "mIoU rule")
    _print_table(header, rows, num_text=0)
    for note in dict.fromkeys(f"{entry.name}: {entry.note}." for entry in entries if entry.note):
        print(note)
    for entry in entries:
        if entry.is_ours and entry.other_score is not None:
            print(f"{entry.name}: {100 * entry.other_score:.1f} under miou_in_either.")
        for caveat in entry.caveats:
            print(f"{entry.name} has no rank, because it is not the benchmark: {caveat}")


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_text: int) -> None:
    """Columns as wide as they need; from the `num_text`-th on they are numbers, unless it is 0."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if 0 < num_text <= index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
