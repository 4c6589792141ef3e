"""The report of a result: what a reader needs to trust its number, and to see what went wrong.

OUT/NAME.md and OUT/NAME.html hold the same. The pictures are those of the best and the worst mIoU
of their own; they lie in OUT/NAME.pictures and are drawn while the model is at hand, so a report
that is made again later shows those that are still there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from escnet.errors import ConfigError
from escnet.evaluation.document import Block, Document, Figure, Heading, Table, Text
from escnet.evaluation.leaderboard import Entry, published_table, standings
from escnet.evaluation.metrics import SCORES
from escnet.evaluation.panels import PanelModel, panels_name, write_panels
from escnet.evaluation.result import EvalResult, PictureScore
from escnet.evaluation.target import EvalTarget
from escnet.files import MARK_COMMENT, write_file

NUM_PICTURES = 4  # of the best, and of the worst
_NUM_PAIRS = 20
_NUM_SKIPPED = 20
_MEANING = {
    "miou_in_truth": "mean IoU over the classes in the truth",
    "miou_in_either": "mean IoU over the classes in the truth or predicted",
    "pixel_accuracy": "labelled pixels that got the right class",
    "mean_accuracy": "the same, class by class, averaged",
    "frequency_weighted_iou": "IoU weighted by the pixels of each class",
    "boundary_iou": "mean IoU of the bands along the outlines",
    "miou_small": "of pictures in which the class has less than 1 %",
    "miou_medium": "1 % to 10 %",
    "miou_large": "10 % or more",
    "miou_seen": "classes that the model was trained on",
    "miou_unseen": "classes that it was not trained on",
}


def draw_pictures(
    result: EvalResult, path: Path, target: EvalTarget, answers: PanelModel, num_pictures: int
) -> None:
    """Draw the best and the worst pictures of a result, asking the model about them again.

    Args:
        result: The result.
        path: Its file.
        target: What it is of.
        answers: The model that it is of.
        num_pictures: How many of each kind; with 0 no folder is made.

    Raises:
        OutputError: If a file cannot be written.
    """
    chosen = [(name, picture.stem) for name, picture in _chosen(result, num_pictures)]
    if chosen:
        write_panels(_pictures_folder(path), target, chosen, [answers])


def write_report(result: EvalResult, path: Path) -> tuple[Path, Path]:
    """Write a result's report beside it; returns the Markdown file and the HTML file.

    Args:
        result: The result.
        path: Its file, such as OUT/a-150.json.

    Raises:
        ConfigError: If a picture beside the result cannot be read.
        OutputError: If a file cannot be written.
    """
    document = report_of(result, _figures(result, _pictures_folder(path)))
    return write_document(document, path)


def write_document(document: Document, path: Path, *, has_html: bool = True) -> tuple[Path, Path]:
    """Write a document beside the file that it tells of, with other endings.

    Raises:
        ConfigError: If a picture cannot be read.
        OutputError: If a file cannot be written.
    """
    markdown, page = path.with_suffix(".md"), path.with_suffix(".html")
    write_file(markdown, f"{MARK_COMMENT}\n\n{document.to_markdown(path.parent)}".encode())
    if has_html:
        try:
            content = document.to_html().encode()
        except OSError as error:
            raise ConfigError(
                f"{error.filename} cannot be read ({error.strerror}): check it, or delete it"
            ) from None
        write_file(page, content)
    return markdown, page


def report_of(result: EvalResult, figures: Sequence[Figure] = ()) -> Document:
    """The report; figures show single pictures."""
    blocks: list[Block] = [*_headline(result), *_setting(result)]
    blocks += _published(result)
    blocks += [*_reliability(result), *_class_table(result), *_confusion(result)]
    if figures:
        blocks.append(Heading("Best and worst pictures"))
        blocks.append(Text("What is grey in the truth counts nowhere, whatever was predicted."))
        blocks += figures
    blocks += _skipped(result)
    return Document(title=f"{result.model.name} on {result.benchmark}", blocks=tuple(blocks))


def percent(value: float | None) -> str:
    """A share as it is printed; a dash if it is not defined."""
    return "-" if value is None else f"{100 * value:.1f}"


def _headline(result: EvalResult) -> Iterator[Block]:
    other = "miou_in_either" if result.protocol.headline == "miou_in_truth" else "miou_in_truth"
    yield Text(
        f"{percent(result.headline)} % {result.protocol.headline}, "
        f"{percent(result.scores.get(other))} % {other}, "
        f"on {result.data.num_pictures} pictures with {len(result.classes)} classes."
    )
    for deviation in result.deviations:
        yield Text(f"Not the benchmark's own protocol: {deviation}", is_warning=True)
    if result.skipped:
        yield Text(f"{len(result.skipped)} pictures were skipped.", is_warning=True)
    names = [name for name in SCORES if result.scores.get(name) is not None]
    rows = [
        (
            name,
            _MEANING[name],
            percent(result.scores[name]),
            *(percent(bound) for bound in result.intervals.get(name, (None, None))),
        )
        for name in names
    ]
    yield Heading("Scores")
    marked = frozenset(i for i, name in enumerate(names) if name == result.protocol.headline)
    yield Table(("score", "what it is", "%", "from", "to"), rows, num_text=2, marked=marked)
    yield Text("From and to: where the score lies in 95 of 100 resamples of the pictures.")


def _setting(result: EvalResult) -> Iterator[Block]:
    model, memory = result.model, result.peak_memory
    trained_on = model.trained_on
    yield Heading("How it was made")
    rows = [
        ("model", model.name),
        ("method", model.method),
        ("weights hash", model.weights_hash),
        ("trained on", "not known" if trained_on is None else f"{len(trained_on)} class names"),
        ("pictures", f"{result.data.num_pictures} in {result.data.root}"),
        ("data checksum", result.data.checksum),
        ("seconds", f"{result.seconds:.1f}"),
        ("peak memory", "not known" if memory is None else f"{memory / 1e6:,.0f} MB"),
        *result.versions.items(),
    ]
    yield Table(("what", "value"), [(str(name), str(value)) for name, value in rows], num_text=2)
    yield Heading("Protocol")
    settings = {f"model: {name}": value for name, value in model.settings.items()}
    values = {**result.protocol.model_dump(), **settings}
    rows = [(name, _setting_shown(value)) for name, value in values.items()]
    yield Table(("setting", "value"), rows, num_text=2)


def _setting_shown(value: object) -> str:
    if value is None:
        return "the model's own"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _published(result: EvalResult) -> Iterator[Block]:
    table = published_table()
    if result.benchmark not in table.benchmarks:
        return
    entries = standings(result.benchmark, [result])
    yield Heading(f"Published results on {result.benchmark}")
    header = ("rank", "system", "built on", "trained on", "published", "mIoU rule", "mIoU")
    marked = frozenset(index for index, entry in enumerate(entries) if entry.is_ours)
    yield Table(header, [_entry_row(entry) for entry in entries], num_text=6, marked=marked)
    yield Text(f"Published scores from {table.source}.")
    notes = dict.fromkeys(f"{entry.name}: {entry.note}." for entry in entries if entry.note)
    yield from (Text(note) for note in notes)
    for entry in entries:
        for caveat in entry.caveats:
            yield Text(
                f"{entry.name} has no rank, because it is not the benchmark: {caveat}",
                is_warning=True,
            )


def _entry_row(entry: Entry) -> tuple[str, ...]:
    rank = "-" if entry.rank is None else str(entry.rank)
    return (
        rank, entry.name, entry.built_on, entry.trained_on, entry.published, entry.rule,
        percent(entry.score),
    )  # fmt: skip


def _reliability(result: EvalResult) -> Iterator[Block]:
    if (calibration := result.calibration) is None:
        return
    yield Heading("Confidence")
    yield Text(
        f"Expected calibration error {percent(calibration.calibration_error)} %: so far are "
        "confidence and the share of right pixels apart on average, over pixels with a truth."
    )
    rows = [
        (
            f"{one.above:.2f}", f"{one.pixels:,}", percent(one.confidence), percent(one.accuracy),
        )
        for one in calibration.bins
    ]  # fmt: skip
    yield Table(("from", "pixels", "mean confidence %", "right %"), rows, num_text=0)


def _class_table(result: EvalResult) -> Iterator[Block]:
    predicted = result.matrix().sum(axis=0)  # (N,)
    rows = [
        (
            part.name, percent(part.iou), percent(part.accuracy), percent(part.boundary_iou),
            f"{part.pixels:,}", f"{predicted[index]:,}",
        )
        for index, part in enumerate(result.per_class)
    ]  # fmt: skip
    yield Heading("Classes")
    yield Table(
        ("class", "IoU", "accuracy", "boundary IoU", "pixels in the truth", "predicted"), rows
    )


def _confusion(result: EvalResult) -> Iterator[Block]:
    matrix = result.matrix()
    total = matrix.sum(axis=1)  # (N,)
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    worst = np.argsort(-mistakes, axis=None, kind="stable")[:_NUM_PAIRS]
    pairs = [(int(i) // len(matrix), int(i) % len(matrix)) for i in worst]
    rows = [
        (
            result.classes[true], result.classes[answer], f"{mistakes[true, answer]:,}",
            percent(mistakes[true, answer] / total[true]),
        )
        for true, answer in pairs
        if mistakes[true, answer]
    ]  # fmt: skip
    if rows:
        yield Heading("What is taken for what")
        header = ("in the truth", "predicted", "pixels", "% of the class")
        yield Table(header, rows, num_text=2)


def _skipped(result: EvalResult) -> Iterator[Block]:
    if result.skipped:
        yield Heading("Skipped pictures")
        first = result.skipped[:_NUM_SKIPPED]
        yield Table(("picture", "reason"), [(part.stem, part.reason) for part in first], num_text=2)
        if len(result.skipped) > len(first):
            yield Text(f"And {len(result.skipped) - len(first)} more.")


def _chosen(result: EvalResult, num_pictures: int) -> Iterator[tuple[str, PictureScore]]:
    """The file names of the best and the worst pictures, and their scores; none is both."""
    scored = [picture for picture in result.pictures if picture.miou is not None]
    by_miou = sorted(scored, key=lambda picture: -(picture.miou or 0))
    best = by_miou[: min(num_pictures, (len(scored) + 1) // 2)]
    worst = by_miou[::-1][: min(num_pictures, len(scored) // 2)]
    for kind, pictures in (("best", best), ("worst", worst)):
        for number, picture in enumerate(pictures, 1):
            yield panels_name(kind, number, picture.stem, [result]), picture


def _figures(result: EvalResult, folder: Path) -> list[Figure]:
    return [
        Figure(
            folder / name,
            f"{name.split('-')[0]}: {picture.stem}, mIoU {percent(picture.miou)} %, "
            f"pixel accuracy {percent(picture.pixel_accuracy)} %",
        )
        for name, picture in _chosen(result, len(result.pictures))
        if (folder / name).is_file()
    ]


def _pictures_folder(path: Path) -> Path:
    return path.with_suffix(".pictures")
