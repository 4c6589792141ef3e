"""From the records of pictures to scores, their intervals, and the tables of a result."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from jaxtyping import Float, Int

from escnet.data.check import digest_line
from escnet.evaluation.bootstrap import PictureTable, intervals
from escnet.evaluation.metrics import (
    ConfusionMatrix,
    PictureCounts,
    SeenClasses,
    accuracy_of,
    boundary_iou_of,
    iou_of,
    scores_of,
)
from escnet.evaluation.records import PictureRecord
from escnet.evaluation.reliability import Reliability
from escnet.evaluation.result import (
    ClassScore,
    PictureScore,
    SkippedPicture,
    to_value,
    to_values,
)


@dataclass(slots=True, kw_only=True)
class RunScores:
    """What the records of a run come to; fields as in `EvalResult`."""

    matrix: Int[np.ndarray, "N N"]
    unanswered: Int[np.ndarray, " N"]
    scores: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_class: list[ClassScore] = field(default_factory=list)
    pictures: list[PictureScore] = field(default_factory=list)
    skipped: list[SkippedPicture] = field(default_factory=list)
    checksum: str = ""
    reliability: Reliability | None = None


def score_records(
    records: Iterable[PictureRecord],
    classes: Sequence[str],
    trained_on: Sequence[str] | None,
    *,
    has_background: bool = False,
) -> RunScores:
    """Score the pictures that were counted.

    Args:
        records: One for each picture.
        classes: The class names that are scored.
        trained_on: Class names that the model has seen labelled; None if that is not known.
        has_background: Whether the last class is the background.
    """
    confusion = ConfusionMatrix(len(classes))
    run_scores = RunScores(matrix=confusion.counts, unanswered=confusion.unanswered)
    digest = sha256()

    def counted() -> Iterator[PictureCounts]:
        for record in records:
            if record.counts is None:
                run_scores.skipped.append(SkippedPicture(stem=record.stem, reason=record.skipped))
                continue
            confusion.add_counts(record.counts)
            digest.update(digest_line(record.stem, record.checksum))
            sums = record.counts.sums(len(classes))
            run_scores.pictures.append(_picture_score(record, sums))
            if record.reliability is not None:
                so_far = run_scores.reliability or Reliability()
                run_scores.reliability = so_far + record.reliability
            yield record.counts

    table = PictureTable(counted(), len(classes))
    sums = table.sums(np.ones((1, table.num_pictures)))[0]
    seen = seen_classes(classes, trained_on, has_background=has_background)
    run_scores.scores = to_values(scores_of(sums, seen))
    run_scores.intervals = intervals(table, seen)
    run_scores.per_class = _class_scores(classes, sums)
    run_scores.checksum = digest.hexdigest()
    return run_scores


def seen_classes(
    classes: Sequence[str], trained_on: Sequence[str] | None, *, has_background: bool
) -> SeenClasses | None:
    """Which of the classes a model has seen labelled, by name; None if that is not known.

    Args:
        classes: The class names that are scored.
        trained_on: Class names that the model has seen labelled.
        has_background: Whether the last class is the background, which is no name to be seen.
    """
    if not trained_on:
        return None
    known = {name.strip().casefold() for name in trained_on}
    is_known = np.array([name.strip().casefold() in known for name in classes])
    is_name = np.ones(len(classes), bool)
    is_name[-1] = not has_background
    return SeenClasses(is_known & is_name, ~is_known & is_name)


def _picture_score(record: PictureRecord, sums: Float[np.ndarray, "Q N"]) -> PictureScore:
    scores = scores_of(sums)
    return PictureScore(
        stem=record.stem,
        miou=to_value(scores["miou_in_truth"]),
        pixel_accuracy=to_value(scores["pixel_accuracy"]),
        seconds=record.seconds,
    )


def _class_scores(classes: Sequence[str], sums: Float[np.ndarray, "Q N"]) -> list[ClassScore]:
    columns = zip(
        classes, iou_of(sums), accuracy_of(sums), boundary_iou_of(sums), sums[1], strict=True
    )
    return [
        ClassScore(
            name=name,
            iou=to_value(iou),
            accuracy=to_value(accuracy),
            boundary_iou=to_value(boundary),
            pixels=int(pixels),
        )
        for name, iou, accuracy, boundary, pixels in columns
    ]
