"""What is written of a comparison.

OUT/NAME.against.json has all of it, OUT/NAME.against.md what can be read, with the pictures in
which the most pixels changed in OUT/NAME.against.pictures.
"""

from collections.abc import Sequence
from pathlib import Path

from escnet.annotations.json_text import to_marked_json
from escnet.evaluation.comparison import Comparison, Difference, PictureDifference
from escnet.evaluation.document import Block, Document, Figure, Heading, Table, Text
from escnet.evaluation.panels import PanelModel, panels_name, write_panels
from escnet.evaluation.report import percent
from escnet.evaluation.result import EvalResult
from escnet.evaluation.target import EvalTarget
from escnet.files import MARK_COMMENT, write_file

_NUM_SHOWN = 20  # pictures in the table


def draw_disagreements(
    comparison: Comparison,
    path: Path,
    results: Sequence[EvalResult],
    target: EvalTarget,
    answers: Sequence[PanelModel],
    num_pictures: int,
) -> list[Figure]:
    """Draw the pictures in which the most pixels changed, asking the models again.

    Args:
        comparison: Of two results.
        path: Its file.
        results: Those whose models are asked.
        target: What they are of.
        answers: Their models; one, if the other's is not at hand.
        num_pictures: How many; with 0 no folder is made.

    Raises:
        OutputError: If a file cannot be written.
    """
    folder = path.with_suffix(".pictures")
    shown = [part for part in comparison.pictures if part.changed][:num_pictures]
    chosen = [
        (panels_name("changed", number, part.stem, results), part)
        for number, part in enumerate(shown, 1)
    ]
    if chosen:
        write_panels(folder, target, [(name, part.stem) for name, part in chosen], answers)
    return [Figure(folder / name, _caption(part)) for name, part in chosen]


def document_of(comparison: Comparison, figures: Sequence[Figure] = ()) -> Document:
    """What can be read of a comparison; figures show single pictures."""
    blocks: list[Block] = [
        Text(
            f"Ours is {comparison.ours}, theirs {comparison.theirs}, on the same "
            f"{len(comparison.pictures)} pictures. A difference is ours minus theirs in points; "
            "from and to hold 95 of 100 resamples of the pictures, and a line stands out where "
            "both are on one side of zero. Classes in fewer than five pictures have no interval."
        ),
        Heading("What differs in the settings"),
        *[Text(text) for text in comparison.settings or ["Nothing."]],
        Heading("Scores"),
        _table("score", comparison.scores),
        Text(
            f"Ours is better in {comparison.num_better} pictures, theirs in {comparison.num_worse}."
        ),
        Heading("Classes, those that gained the most first"),
        _table("class", sorted(comparison.per_class, key=_by_difference)),
        Heading("Pictures in which the most pixels changed"),
        Table(
            ("picture", "changed at least, %", "ours", "theirs", "difference"),
            [_picture_row(part) for part in comparison.pictures[:_NUM_SHOWN] if part.changed],
        ),
        *figures,
    ]
    title = f"{comparison.ours} against {comparison.theirs} on {comparison.benchmark}"
    return Document(title=title, blocks=tuple(blocks))


def write_comparison(comparison: Comparison, path: Path, figures: Sequence[Figure] = ()) -> Path:
    """Write a comparison as JSON and as Markdown; returns the Markdown file.

    Raises:
        OutputError: If a file cannot be written.
    """
    # not pydantic's own writer, which refuses names of pictures that are not UTF-8
    write_file(path, to_marked_json(comparison.model_dump(mode="json")))
    markdown = path.with_suffix(".md")
    text = document_of(comparison, figures).to_markdown(path.parent)
    write_file(markdown, f"{MARK_COMMENT}\n\n{text}".encode())
    return markdown


def _by_difference(part: Difference) -> tuple[bool, float]:
    return part.difference is None, -(part.difference or 0.0)


def _table(title: str, parts: Sequence[Difference]) -> Table:
    rows = [
        (
            part.name, percent(part.ours), percent(part.theirs), points(part.difference),
            *(points(bound) for bound in part.interval or (None, None)),
        )
        for part in parts
    ]  # fmt: skip
    marked = frozenset(index for index, part in enumerate(parts) if part.is_clear)
    return Table((title, "ours", "theirs", "difference", "from", "to"), rows, marked=marked)


def points(value: float | None) -> str:
    """A difference in percent with its sign; a dash if it is not defined."""
    return "-" if value is None else f"{100 * value:+.1f}"


def _picture_row(part: PictureDifference) -> tuple[str, ...]:
    return (
        part.stem, percent(part.changed), percent(part.ours), percent(part.theirs),
        points(part.difference),
    )  # fmt: skip


def _caption(part: PictureDifference) -> str:
    return (
        f"{part.stem}: mIoU {percent(part.ours)} % against {percent(part.theirs)} %; "
        f"at least {percent(part.changed)} % of the labelled pixels changed"
    )
