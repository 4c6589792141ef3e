"""Two results on the same pictures, compared pair by pair.

Models are compared on the same pictures, so what a hard picture costs both of them cancels: each
resample draws the same pictures for both, and the difference of the two scores is taken in every
draw.

Sizes: P pictures, R resamples, N classes, M measures (scores and classes).
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from escnet.data.check import digest_line
from escnet.errors import ConfigError
from escnet.evaluation.bootstrap import (
    NUM_RESAMPLES,
    PictureTable,
    percentile_interval,
    resampled_weights,
)
from escnet.evaluation.metrics import (
    SCORES,
    PictureCounts,
    SeenClasses,
    iou_of,
    scores_of,
)
from escnet.evaluation.records import PictureRecord, first_difference, read_header, read_records
from escnet.evaluation.result import EvalResult, ResultSection, to_value
from escnet.evaluation.scoring import seen_classes
from escnet.evaluation.target import EvalTarget
from escnet.files import display_path

FORMAT = 1  # of the file; one that is to be read otherwise has a higher number
_FEWEST_PICTURES = 5  # that show a class; resamples of fewer are mostly repeats of one


class Difference(ResultSection):
    """A score of both results.

    Attributes:
        name: The score, or the class whose IoU it is.
        ours: Of the new result; None where not defined.
        theirs: Of the other.
        difference: Ours minus theirs.
        interval: Where the difference lies in 95 of 100 resamples of the pictures; None if it
            hangs on too few of them for that to mean anything.
        num_pictures: With the class in the truth; of a score, all pictures.
    """

    name: str
    ours: float | None
    theirs: float | None
    difference: float | None
    interval: tuple[float, float] | None
    num_pictures: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


class PictureDifference(ResultSection):
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


class Comparison(ResultSection):
    """How a result differs from another on the same pictures.

    Attributes:
        format: Of this file.
        benchmark: Of both.
        checksum: Of the pictures of both.
        ours: Name of the new result's model.
        theirs: Name of the other's.
        settings: Where model and protocol differ, as "setting: theirs -> ours".
        scores: All scores that are defined, and the mIoU of single pictures, averaged over them.
            Those over seen and unseen names are there if both models have seen the same ones.
        per_class: IoU of each class, in label order.
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
            f"{display_path(path)} scores {len(theirs.classes)} classes, of which the first that "
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
            f"{display_path(theirs_path)} is of other pictures or labels "
            f"({theirs.data.num_pictures} with checksum {theirs.data.checksum[:12]}, not "
            f"{ours.data.num_pictures} with {ours.data.checksum[:12]}): compare results on the "
            "same data, with the same --limit"
        )
    tables = [  # and by reading all records, that they are those of the results
        PictureTable(_counts(result, path), len(result.classes))
        for result, path in ((ours, ours_path), (theirs, theirs_path))
    ]
    changes, num_with_class = _changes(ours, ours_path, theirs, theirs_path)
    pairs = zip(ours.pictures, theirs.pictures, changes, strict=True)
    pictures = [
        PictureDifference(stem=mine.stem, ours=mine.miou, theirs=other.miou, changed=changed)
        for mine, other, changed in pairs
    ]
    differences = [part.difference or 0.0 for part in pictures]
    scores = _differences(
        tables, pictures, ours.classes, num_with_class, _seen_by_both(ours, theirs)
    )
    num_scores = len(scores) - len(ours.classes)
    return Comparison(
        benchmark=ours.benchmark,
        checksum=ours.data.checksum,
        ours=ours.model.name,
        theirs=theirs.model.name,
        settings=_settings(ours, theirs),
        scores=[part for part in scores[:num_scores] if part.difference is not None],
        per_class=scores[num_scores:],
        num_better=sum(difference > 0 for difference in differences),
        num_worse=sum(difference < 0 for difference in differences),
        pictures=sorted(pictures, key=lambda part: (-part.changed, -abs(part.difference or 0))),
    )


def records_beside(path: Path) -> Path:
    """Where the records of a result's pictures are."""
    return path.with_suffix(".pictures.jsonl")


def _differences(
    tables: Sequence[PictureTable],
    pictures: Sequence[PictureDifference],
    classes: Sequence[str],
    num_with_class: Int[np.ndarray, " N"],
    seen: SeenClasses | None,
) -> list[Difference]:
    """The scores, the mean over pictures, then the classes, with their intervals."""
    mious = [np.array([_number(miou) for miou in column]) for column in _columns(pictures)]

    def measured(weights: Float[np.ndarray, "R P"]) -> list[Float[np.ndarray, "R M"]]:
        pairs = zip(tables, mious, strict=True)
        return [_measured(table, values, weights, seen) for table, values in pairs]

    draws = [
        np.subtract(*measured(weights))
        for weights in resampled_weights(len(pictures), num_resamples=NUM_RESAMPLES)
    ]
    low_high = [percentile_interval(column) for column in np.concatenate(draws).T]
    ours, theirs = (part[0] for part in measured(np.ones((1, len(pictures)))))  # (M,)
    names = [*SCORES, "mean of pictures", *classes]
    counts = [*[len(pictures)] * (len(SCORES) + 1), *num_with_class.tolist()]
    return [
        Difference(
            name=name,
            ours=to_value(mine),
            theirs=to_value(other),
            difference=to_value(mine - other),
            interval=interval if count >= _FEWEST_PICTURES else None,
            num_pictures=count,
        )
        for name, mine, other, interval, count in zip(
            names, ours, theirs, low_high, counts, strict=True
        )
    ]


def _seen_by_both(ours: EvalResult, theirs: EvalResult) -> SeenClasses | None:
    """Which classes both models have seen labelled; None if that is not known.

    It is None too if they have seen different ones: a mean over some classes, less a mean over
    others, says nothing of the models.
    """
    mine, other = (
        seen_classes(
            part.classes, part.model.trained_on, has_background=part.protocol.has_background
        )
        for part in (ours, theirs)
    )
    if mine is None or other is None or any(map(np.any, np.not_equal(mine, other))):
        return None
    return mine


def _measured(
    table: PictureTable,
    miou: Float[np.ndarray, " P"],
    weights: Float[np.ndarray, "R P"],
    seen: SeenClasses | None,
) -> Float[np.ndarray, "R M"]:
    """Every score, the mean over pictures, and every class's IoU, for each resample."""
    sums = table.sums(weights)  # (R, Q, N)
    scores = scores_of(sums, seen)
    columns = [*(scores[name] for name in SCORES), _weighted_mean(miou, weights)]
    return np.concatenate([np.stack(columns, axis=1), iou_of(sums)], axis=1)


def _columns(
    pictures: Sequence[PictureDifference],
) -> tuple[list[float | None], list[float | None]]:
    return [part.ours for part in pictures], [part.theirs for part in pictures]


def _weighted_mean(
    values: Float[np.ndarray, " P"], weights: Float[np.ndarray, "R P"]
) -> Float[np.ndarray, " R"]:
    """The mean over the pictures that have a value, each as often as it was drawn."""
    has_value = ~np.isnan(values)
    total = weights @ has_value
    sums = weights @ np.where(has_value, values, 0)
    return np.divide(sums, total, out=np.full(len(weights), np.nan), where=total > 0)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _counts(result: EvalResult, path: Path) -> Iterator[PictureCounts]:
    for record in _records(result, path):
        if record.counts is not None:
            yield record.counts


def _changes(
    ours: EvalResult, ours_path: Path, theirs: EvalResult, theirs_path: Path
) -> tuple[list[float], Int[np.ndarray, " N"]]:
    """For each picture the share of pixels that surely got another class; pictures of each class.

    The records of both are known to be those of the same pictures.
    """
    changed, num_with_class = [], np.zeros(len(ours.classes), np.int64)
    pairs = zip(_counts(ours, ours_path), _counts(theirs, theirs_path), strict=True)
    for mine, other in pairs:
        changed.append(_changed(mine, other, len(ours.classes)))
        num_with_class[np.unique(mine.truth)] += 1
    return changed, num_with_class


def _changed(mine: PictureCounts, other: PictureCounts, num_classes: int) -> float:
    """Half of what the cells of two confusion matrices differ by, as a share of the pixels."""
    cells = np.concatenate(
        [part.truth * (num_classes + 1) + part.predicted for part in (mine, other)]
    )
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
            digest.update(digest_line(record.stem, record.checksum))
            yield record
    if difference is not None or digest.hexdigest() != result.data.checksum:
        reason = f" ({difference})" if difference else ""
        raise ConfigError(
            f"the records {display_path(records)} are not those of {display_path(path)}{reason}: "
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
