"""`escnet data`: the published data sets, from download to a checked folder."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
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
)
from escnet.cli.options import AsJson, verb_group

if TYPE_CHECKING:
    from escnet.data.check import CheckReport, FolderReport

app = verb_group("List, prepare, and check the benchmarks' data sets.")

Name = Annotated[str, typer.Argument(help="Such as a-150; see `escnet data list`.")]

_MOST_SHOWN = 10
_SECONDS_BETWEEN_LINES = 5.0


@app.command(name="list")
def list_known(as_json: AsJson = False) -> None:
    """List the data sets that this program knows."""
    from escnet.data.splits import SPLITS

    rows = [
        {
            "name": split.name,
            "num_classes": len(split.classes),
            "num_pictures": list(split.counts),
            "ignore_label": split.ignore_label,
            "pictures": split.layouts[0].pictures,
            "labels": [layout.labels for layout in split.layouts],
        }
        for split in SPLITS.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for split in SPLITS.values():
        counts = " or ".join(f"{count:,}" for count in split.counts)
        print(f"{split.name:<17} {len(split.classes):>3} classes, {counts} pictures")
        print(f"  {split.layouts[0].pictures}")
        for layout in split.layouts:
            print(f"  {layout.labels}/*{layout.label_suffix}")


@app.command()
def prepare(
    name: Name,
    source: Annotated[
        Path, typer.Option("--from", help="Folder with the downloaded archives or folders.")
    ],
    root: Annotated[Path, typer.Option("--to", help="Folder for the files that are read.")],
    as_json: AsJson = False,
) -> None:
    """Make a data set's files from its downloads; what is there already is kept."""
    from escnet.data.prepare import prepare as run
    from escnet.data.splits import find_split

    done = run(find_split(name), source, root, _progress("files"))
    if as_json:
        print(json.dumps(asdict(done), indent=2, ensure_ascii=False))
    else:
        print(
            f"{name}: {done.num_written} files written, {done.num_kept} kept, {len(done.bad)} bad"
        )
        _print_first(done.bad)
    if done.bad:
        raise typer.Exit(1)


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="A folder, or a published data set; see `escnet data list`.")
    ],
    root: Annotated[
        Path | None, typer.Option("--data", help="Folder that holds the published data set.")
    ] = None,
    layout: Layout = None,
    split: Split = None,
    classes_file: ClassesFile = None,
    ignore: Ignore = None,
    zero_is: ZeroIs = None,
    offset: Offset = None,
    id_map: IdMap = None,
    as_json: AsJson = False,
) -> None:
    """Check pictures with label maps: pairs, sizes, label values, and signs of wrong labels.

    A published data set is checked against what was published. For any other folder this prints how
    the folder is read, what its label maps show, and what in them is probably wrong.
    """
    from escnet.data.check import check_folder, check_split
    from escnet.data.folder import FolderDataset
    from escnet.data.splits import SPLITS
    from escnet.errors import ConfigError

    options = folder_options(
        layout=layout,
        split=split,
        classes_file=classes_file,
        ignore=ignore,
        zero_is=zero_is,
        offset=offset,
        id_map=id_map,
    )
    report: CheckReport | FolderReport
    if name in SPLITS and root is not None:
        report = check_split(SPLITS[name], root, _progress("pictures"))
    else:
        path = Path(name) if root is None else root / name
        if not path.exists():
            if name in SPLITS:
                raise ConfigError(f"data set {name} needs its folder: add --data ROOT")
            raise ConfigError(
                f"no folder or data set {name!r}: give a folder of pictures with label maps, or "
                f"one of {', '.join(SPLITS)}"
            )
        report = check_folder(FolderDataset.read(path, options), _progress("pictures"))
    if as_json:
        document = {**asdict(report), "is_good": report.is_good}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print_report(report)
    if not report.is_good:
        raise typer.Exit(1)


def _print_report(report: "CheckReport | FolderReport") -> None:
    from escnet.data.check import FolderReport

    if isinstance(report, FolderReport):
        _print_folder(report)
        return
    expected = " or ".join(f"{count:,}" for count in report.expected)
    print(f"{report.name}: {report.num_pairs:,} pictures with label maps, {expected} published")
    print(f"  {report.num_pictures:,} pictures in {report.pictures}")
    print(f"  {report.num_labels:,} label maps in {report.labels}")
    print(f"  sha256 {report.checksum}")
    print(f"  problems: {len(report.problems):,}" if report.problems else "  as published")
    _print_first(report.problems)


def _print_folder(report: "FolderReport") -> None:
    print(f"{report.name}: read as {report.layout}")
    for source, classes in report.sources.items():
        pixels = sum(count for *_, count in classes) or 1
        if len(report.sources) > 1:
            print(f"  {source}")
        for index, (name, pictures, count) in enumerate(classes):
            of_pictures = "1 picture" if pictures == 1 else f"{pictures} pictures"
            share = f"{100 * count / pixels:5.1f} %"
            print(f"  {index:>3} {name:<24} {share} of the labelled pixels, in {of_pictures}")
        print(f"  sha256 {report.checksum[source]}")
    for doubt in report.doubts:
        print(f"  warning: {doubt}")
    problems = (
        f"problems: {len(report.problems):,}" if report.problems else "every pair can be used"
    )
    print(f"  {problems}")
    _print_first(report.problems)


def _print_first(problems: tuple[str, ...]) -> None:
    for problem in problems[:_MOST_SHOWN]:
        print(f"  {problem}")
    if len(problems) > _MOST_SHOWN:
        print(f"  ... and {len(problems) - _MOST_SHOWN} more")


def _progress(noun: str) -> Callable[[int, int], None]:
    """A function that prints the progress on stderr, at most one line every few seconds."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{done:,} of {total:,} {noun}", file=sys.stderr, flush=True)

    return show
