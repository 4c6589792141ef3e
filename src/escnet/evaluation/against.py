"""Two results on the same pictures, compared pair by pair.

Models are compared on the same pictures, so what a hard picture costs both of them cancels: each
resample draws the same pictures for both, and the difference of the two scores is taken in every
draw. OUT/NAME.against.json holds all of it, OUT/NAME.against.md what can be read.

Sizes: P pictures, R resamples, N classes.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from escnet.annotations.files import write_file
from escnet.data.image import shown_path
from escnet.errors import ConfigError
from escnet.evaluation.bootstrap import (
    NUM_RESAMPLES,
    PictureTable,
    percentile_interval,
    resampled_weights,
)
from escnet.evaluation.document import Block, Document, Figure, Heading, Table, Text
from escnet.evaluation.metrics import PictureCounts, iou_of, scores_of
from escnet.evaluation.panels import Answers, panels_name, write_panels
from escnet.evaluation.records import PictureRecord, first_difference, read_header, read_records
from escnet.evaluation.report import percent
from escnet.evaluation.result import EvalResult, to_value
from escnet.evaluation.target import EvalTarget

FORMAT = 1
_NUM_SHOWN = 20  # pictures in the table


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Difference(_Part):
    """A score of both results.

    Attributes:
        name: The score, or the class whose IoU it is.
        ours: Of the new result; None where not defined.
        theirs: Of the other.
        difference: Ours minus theirs.
        interval: Where the difference lies in 95 of 100 resamples of the pictures.
    """

    name: str
    ours: float | None
    theirs: float | None
    difference: float | None
    interval: tuple[float, float] | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


class PictureDifference(_Part):
    """A picture in both results.

    Attributes:
        stem: The picture's name.
        ours: Its mIoU in the new result; None where no pixel is labelled.
        theirs: In the other.
        changed: Share of its labelled pixels that surely got another class, by its two confusion
            matrices; more may have changed places.
    """

    stem: str
    ours: float | None
    theirs: float | None
    changed: float

    @property
    def difference(self) -> float | None:
        """Ours minus theirs."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs


class Comparison(_Part):
    """How a result differs from another on the same pictures.

    Attributes:
        format: Of this file.
        benchmark: Of both.
        checksum: Of the pictures of both.
        ours: Name of the new result's model.
        theirs: Name of the other's.
        settings: Where model and protocol differ, as "setting: theirs -> ours".
        scores: All scores that are defined.
        per_class: IoU of each class, in label order.
        mean_picture: The mIoU of single pictures, averaged over pictures.
        num_better: Pictures in which ours is better.
        num_worse: Pictures in which theirs is better.
        pictures: Those in which the most pixels changed first.
    """

    format: int = FORMAT
    benchmark: str
    checksum: str
    ours: str
    theirs: str
    settings: list[str]
    scores: list[Difference]
    per_class: list[Difference]
    mean_picture: Difference
    num_better: int
    num_worse: int
    pictures: list[PictureDifference]


def check_comparable(target: EvalTarget, theirs: EvalResult, path: Path) -> None:
    """Refuse another result that cannot be compared, before anything is evaluated.

    Raises:
        ConfigError: If it is of other class names.
    """
    if list(target.classes) != theirs.classes:
        raise ConfigError(
            f"{shown_path(path)} scores {len(theirs.classes)} classes, of which the first that "
            f"differs is {_first_other(theirs.classes, target.classes)!r}: compare results of the "
            "same class names"
        )


def compare(ours: EvalResult, ours_path: Path, theirs: EvalResult, theirs_path: Path) -> Comparison:
    """Compare two results by the records of their pictures, which lie beside them.

    Args:
        ours: The new result.
        ours_path: Its file.
        theirs: The other.
        theirs_path: Its file.

    Raises:
        ConfigError: If they are of other pictures or class names, or records are missing or are
            not those of the result.
    """
    if ours.classes != theirs.classes or ours.data.checksum != theirs.data.checksum:
        raise ConfigError(
            f"{shown_path(theirs_path)} is of other pictures or labels "
            f"({theirs.data.num_pictures} with checksum {theirs.data.checksum[:12]}, not "
            f"{ours.data.num_pictures} with {ours.data.checksum[:12]}): compare results on the "
            "same data, with the same --limit"
        )
    tables = [  # and by reading all records, that they are those of the results
        PictureTable(_counts(result, path), len(result.classes))
        for result, path in ((ours, ours_path), (theirs, theirs_path))
    ]
    changes = _changes(ours, ours_path, theirs, theirs_path)
    pairs = zip(ours.pictures, theirs.pictures, changes, strict=True)
    pictures = [
        PictureDifference(stem=mine.stem, ours=mine.miou, theirs=other.miou, changed=changed)
        for mine, other, changed in pairs
    ]
    scores, per_class, mean_picture = _resampled(tables, pictures, ours.classes)
    differences = [part.difference or 0.0 for part in pictures]
    return Comparison(
        benchmark=ours.benchmark,
        checksum=ours.data.checksum,
        ours=ours.model.name,
        theirs=theirs.model.name,
        settings=_settings(ours, theirs),
        scores=scores,
        per_class=per_class,
        mean_picture=mean_picture,
        num_better=sum(difference > 0 for difference in differences),
        num_worse=sum(difference < 0 for difference in differences),
        pictures=sorted(pictures, key=lambda part: (-part.changed, -abs(part.difference or 0))),
    )


def records_beside(path: Path) -> Path:
    """Where the records of a result's pictures are."""
    return path.with_suffix(".pictures.jsonl")


def draw_disagreements(
    comparison: Comparison,
    path: Path,
    results: Sequence[EvalResult],
    target: EvalTarget,
    answers: Sequence[Answers],
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
            "both are on one side of zero."
        ),
        Heading("What differs in the settings"),
        *[Text(text) for text in comparison.settings or ["Nothing."]],
        Heading("Scores"),
        _table("score", [*comparison.scores, comparison.mean_picture]),
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
    write_file(path, (comparison.model_dump_json(indent=1) + "\n").encode())
    markdown = path.with_suffix(".md")
    write_file(markdown, document_of(comparison, figures).to_markdown(path.parent).encode())
    return markdown


def _resampled(
    tables: Sequence[PictureTable], pictures: Sequence[PictureDifference], classes: Sequence[str]
) -> tuple[list[Difference], list[Difference], Difference]:
    """The scores, the classes, and the mean over pictures, with their intervals."""
    named: dict[str, list[Float[np.ndarray, " R"]]] = {}
    by_class, means = [], []
    single = np.array([_number(part.difference) for part in pictures])
    for weights in resampled_weights(len(pictures), num_resamples=NUM_RESAMPLES):
        mine, other = (table.sums(weights) for table in tables)  # (R, Q, N)
        before = scores_of(other)
        for name, values in scores_of(mine).items():
            named.setdefault(name, []).append(values - before[name])
        by_class.append(iou_of(mine) - iou_of(other))  # (R, N)
        means.append(_weighted_mean(single, weights))
    sums = [table.sums(np.ones((1, len(pictures))))[0] for table in tables]
    mine_scores, other_scores = (scores_of(part) for part in sums)
    scores = [
        _difference(name, mine_scores[name], other_scores[name], np.concatenate(named[name]))
        for name in mine_scores
        if not np.isnan(mine_scores[name]) or not np.isnan(other_scores[name])
    ]
    draws = np.concatenate(by_class)  # (R, N)
    per_class = [
        _difference(name, mine, other, draws[:, index])
        for index, (name, mine, other) in enumerate(
            zip(classes, iou_of(sums[0]), iou_of(sums[1]), strict=True)
        )
    ]
    both = np.array([[_number(part.ours), _number(part.theirs)] for part in pictures])  # (P, 2)
    everyone = np.ones((1, len(pictures)))
    ours, theirs = (_weighted_mean(column, everyone)[0] for column in both.T)
    return scores, per_class, _difference("mean of pictures", ours, theirs, np.concatenate(means))


def _difference(name: str, ours: Any, theirs: Any, draws: Float[np.ndarray, " R"]) -> Difference:
    return Difference(
        name=name,
        ours=to_value(ours),
        theirs=to_value(theirs),
        difference=to_value(ours - theirs),
        interval=percentile_interval(draws),
    )


def _weighted_mean(
    values: Float[np.ndarray, " P"], weights: Float[np.ndarray, "R P"]
) -> Float[np.ndarray, " R"]:
    """The mean over the pictures that have a value, each as often as it was drawn."""
    has_value = ~np.isnan(values)
    total = weights @ has_value
    found = weights @ np.where(has_value, values, 0)
    return np.divide(found, total, out=np.full(len(weights), np.nan), where=total > 0)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _counts(result: EvalResult, path: Path) -> Iterator[PictureCounts]:
    for record in _records(result, path):
        if record.counts is not None:
            yield record.counts


def _changes(
    ours: EvalResult, ours_path: Path, theirs: EvalResult, theirs_path: Path
) -> list[float]:
    """For each picture the share of labelled pixels that surely got another class."""
    pairs = zip(_records(ours, ours_path), _records(theirs, theirs_path), strict=True)
    size = len(ours.classes)
    return [
        _changed(mine.counts, other.counts, size)
        for mine, other in pairs
        if mine.counts is not None and other.counts is not None
    ]


def _changed(mine: PictureCounts, other: PictureCounts, num_classes: int) -> float:
    """Half of what the cells of two confusion matrices differ by, as a share of the pixels."""
    cells = np.concatenate([part.truth * num_classes + part.predicted for part in (mine, other)])
    counts = np.concatenate([mine.count, -other.count])
    _, place = np.unique(cells, return_inverse=True)
    moved = np.abs(np.bincount(place, weights=counts)).sum() / 2 if cells.size else 0.0
    return float(moved / max(mine.count.sum(), 1))


def _records(result: EvalResult, path: Path) -> Iterator[PictureRecord]:
    """The records of a result's pictures, in its order.

    Raises:
        ConfigError: If they are missing, or do not come to this result.
    """
    records = records_beside(path)
    header = read_header(records) or {}
    expected = {
        "classes": result.classes,
        "model": result.model.model_dump(mode="json", exclude={"trained_on"}),
        "protocol": result.protocol.model_dump(mode="json"),
    }
    difference = first_difference(expected, {name: header.get(name) for name in expected})
    taken = {picture.stem for picture in result.pictures}
    digest = sha256()
    for record in read_records(records):
        if record.counts is not None and record.stem in taken:
            digest.update(f"{record.stem} {record.checksum}\n".encode())
            yield record
    if difference is not None or digest.hexdigest() != result.data.checksum:
        reason = f" ({difference})" if difference else ""
        raise ConfigError(
            f"the records {shown_path(records)} are not those of {shown_path(path)}{reason}: "
            "evaluate that model again"
        )


def _settings(ours: EvalResult, theirs: EvalResult) -> list[str]:
    """Where model, protocol and versions differ."""

    def flat(result: EvalResult) -> dict[str, Any]:
        model = result.model
        return {
            "model": model.name,
            "method": model.method,
            "weights hash": model.weights_hash[:12],
            **{f"model {name}": value for name, value in model.settings.items()},
            **result.protocol.model_dump(),
            **{f"version of {name}": value for name, value in result.versions.items()},
        }

    mine, other = flat(ours), flat(theirs)
    return [
        f"{name}: {_own(other.get(name))} -> {_own(mine.get(name))}"
        for name in dict.fromkeys([*mine, *other])
        if mine.get(name) != other.get(name)
    ]


def _own(value: object) -> str:
    return "own" if value is None else str(value)


def _first_other(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """The first of their names that is not ours; the first of ours if all of theirs are."""
    for mine, other in zip(ours, theirs, strict=False):
        if mine != other:
            return other
    return theirs[len(ours)] if len(theirs) > len(ours) else ours[len(theirs)]


def _by_difference(part: Difference) -> tuple[bool, float]:
    return part.difference is None, -(part.difference or 0)


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
