"""Labelled pictures in, a calibration out: how often is a model right where it says 0.8?

Every picture gives as many pixels, as those of one picture are right or wrong together. The fit is
a logistic regression of whether a pixel is right, by its logit (Platt scaling).

Sizes: K pixels, N names, F features.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Float64

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError
from escnet.evaluation.evaluate import PictureWithPixels, answer_item
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.reliability import Reliability
from escnet.evaluation.target import AskedClasses, EvalTarget, Question, folder_targets
from escnet.inference.calibration import Calibration
from escnet.inference.label_maps.curve import LARGEST_LOGIT, LEAST_SLOPE, Curve
from escnet.inference.label_maps.probability import logits_of, sigmoid
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

Item = TypeVar("Item")

FEWEST_PICTURES = 4

_FEW_PICTURES = 30
_PIXELS = 4096  # of a picture
_STEPS = 50  # of Newton's method, which needs about ten
_CAUTION = 1e-4  # against the mean of the loss: what all pixels agree on is no certainty


class PictureAnswers(NamedTuple):
    """What a model said of some pixels of a picture.

    Attributes:
        source: The picture's.
        probability: Of each pixel's own name, as the model has it.
        is_right: Whether it is the truth's.
        peak: Of each name the probability where it is surest, as the model has it.
        is_present: Whether a pixel of the truth is of that name.
    """

    source: str
    probability: Float16[np.ndarray, " K"]
    is_right: Bool[np.ndarray, " K"]
    peak: Float32[np.ndarray, " N"]
    is_present: Bool[np.ndarray, " N"]


class SourceFit(NamedTuple):
    """How far confidence can be relied on in a source.

    Attributes:
        source: Its name.
        num_pictures: How many there are.
        before: The expected calibration error of the probabilities, from 0 to 1.
        after: That of confidences, each picture's by a fit to the other half of all pictures.
        presence_after: The same of the probabilities that pictures show names.
        auroc: How often a picture that shows a name has a higher one than one that does not; NaN if
            all pictures show all names.
    """

    source: str
    num_pictures: int
    before: float
    after: float
    presence_after: float
    auroc: float


def calibration_targets(dataset: FolderDataset) -> list[EvalTarget]:
    """The folder's sources, each asked for the names that it annotates.

    A source that annotates one name is left out, as every pixel with a truth is right there.
    """
    targets = []
    for target in folder_targets(dataset):
        annotated = dataset.source(target.name).annotated
        names = Vocabulary.of([target.classes[index] for index in annotated])
        if len(names) > 1:
            targets.append(replace(target, asked=AskedClasses(names, annotated)))
    return targets


def spread(items: Sequence[Item], most: int | None) -> list[Item]:
    """So many of the items, from the first to the last at equal steps; None for all."""
    if most is None or most >= len(items):
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).astype(int)]


def ask_pictures(
    segmenter: Segmenter,
    target: EvalTarget,
    items: Sequence[LabelledPicture],
    options: SegmentOptions,
    *,
    on_picture: Callable[[], None] = lambda: None,
) -> Iterator[PictureAnswers]:
    """What the model says of labelled pictures; those without a labelled pixel are left out.

    Args:
        segmenter: Without a calibration.
        target: Whose names are asked.
        items: Some of its pictures.
        options: How they are seen.
        on_picture: Called after each.

    Raises:
        DatasetError: If a label map cannot be used.
        ImageError: If a picture cannot be read.
    """
    question = Question(target, WHOLE_VIEW)
    results: list[Segmentation] = []

    def predict(item: PictureWithPixels, vocabulary: Vocabulary) -> Segmentation:
        results[:] = [segmenter.segment_pixels(item.pixels, vocabulary, options)]
        return results[0]

    classes = range(len(target.classes)) if target.asked is None else target.asked.classes
    for item in items:
        read = PictureWithPixels.of(item, read_image(item.image_path))
        answer = answer_item(target, question, read, predict)
        on_picture()
        place = np.flatnonzero(answer.truth != target.ignore_label)
        if not place.size or answer.confidence is None or results[0].presence is None:
            continue
        is_present = np.isin(classes, answer.truth)
        place = place[np.linspace(0, place.size - 1, min(_PIXELS, place.size)).astype(int)]
        is_right = answer.truth.flat[place] == answer.prediction.flat[place]
        yield PictureAnswers(
            source=target.name,
            probability=answer.confidence.flat[place],
            is_right=is_right,
            peak=results[0].presence,
            is_present=is_present,
        )


def fit_calibration(
    answers: Sequence[PictureAnswers], segmenter: Segmenter, options: SegmentOptions
) -> tuple[Calibration, list[SourceFit]]:
    """The calibration by what the model said, and how well it does.

    Args:
        answers: Of labelled pictures.
        segmenter: What said it.
        options: How it was asked.

    Raises:
        DatasetError: If there are fewer than four pictures.
    """
    check_number(len(answers))
    num_pictures = Counter(one.source for one in answers)

    def fitted(some: Sequence[PictureAnswers]) -> Calibration:
        return Calibration(
            weights_hash=segmenter.weights_hash,
            asked=segmenter.how_asked(segmenter.resolved(options)),
            confidence=_curve([(one.probability, one.is_right) for one in some]),
            presence=_curve([(one.peak, one.is_present) for one in some]),
            fitted_to=dict(num_pictures),
        )

    # Every other picture, so that each is tested by a fit that has not seen it.
    others = [fitted(answers[1::2]), fitted(answers[::2])]
    parts = [(others[number % 2], one) for number, one in enumerate(answers)]
    fits = [
        _fit_of_source(name, [part for part in parts if part[1].source == name])
        for name in num_pictures
    ]
    return fitted(answers), fits


def check_number(num_pictures: int) -> None:
    """Refuse too few pictures; before they are asked, too.

    Raises:
        DatasetError: If there are fewer than four.
    """
    if num_pictures < FEWEST_PICTURES:
        raise DatasetError(
            f"{num_pictures} pictures with a labelled pixel, asked for two names or more, are too "
            f"few to fit confidence to: give {FEWEST_PICTURES} or more, better a hundred"
        )


def doubts_of(fits: Sequence[SourceFit]) -> list[str]:
    """Why a calibration may be of no use, a line or none for few pictures, one for each source."""
    total = sum(fit.num_pictures for fit in fits)
    doubts = []
    if total < _FEW_PICTURES:
        doubts.append(f"fitted to {total} pictures, which are few: give a hundred or more")
    doubts += [
        f"the calibration error of {fit.source} rises from {fit.before:.1%} to {fit.after:.1%}"
        for fit in fits
        if fit.after > fit.before
    ]
    return doubts


def _fit_of_source(name: str, parts: Sequence[tuple[Calibration, PictureAnswers]]) -> SourceFit:
    """How far a source can be relied on, its pictures with what is fitted to others."""
    before, after, presence_after = Reliability(), Reliability(), Reliability()
    for calibration, one in parts:
        before += Reliability.of(one.probability, one.is_right)
        confidence = calibration.confidence.of(one.probability.astype(np.float32))
        after += Reliability.of(confidence, one.is_right)
        presence = calibration.presence.of(one.peak)
        presence_after += Reliability.of(presence, one.is_present)
    return SourceFit(
        source=name,
        num_pictures=len(parts),
        before=before.calibration_error,
        after=after.calibration_error,
        presence_after=presence_after.calibration_error,
        auroc=auroc(
            np.concatenate([one.peak for _, one in parts]),
            np.concatenate([one.is_present for _, one in parts]),
        ),
    )


def auroc(score: Float[np.ndarray, " K"], is_so: Bool[np.ndarray, " K"]) -> float:
    """The area under the receiver operating characteristic; NaN where all are so, or none.

    Args:
        score: Of each case.
        is_so: Whether it should be high.
    """
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1 on; of equal ones the middle
    num_so, num_not = int(is_so.sum()), int((~is_so).sum())
    if not num_so or not num_not:
        return float("nan")
    return float((rank[is_so].sum() - num_so * (num_so + 1) / 2) / (num_so * num_not))


def _curve(cases: Sequence[tuple[Float[np.ndarray, " _"], Bool[np.ndarray, " _"]]]) -> Curve:
    """The curve by probabilities and whether they are so."""
    probability = np.concatenate([one for one, _ in cases]).astype(np.float64)
    logit = logits_of(probability).clip(-LARGEST_LOGIT, LARGEST_LOGIT)
    features = np.stack([logit, np.ones_like(logit)], axis=1)
    weight = logistic_regression(features, np.concatenate([is_so for _, is_so in cases]))
    return Curve(slope=max(float(weight[0]), LEAST_SLOPE), shift=float(weight[1]))


def logistic_regression(
    features: Float64[np.ndarray, "K F"], is_so: Bool[np.ndarray, " K"]
) -> Float64[np.ndarray, " F"]:
    """The weights that make the sigmoid of the weighted features the likeliest, a little cautious.

    Args:
        features: Of every case.
        is_so: What is to be told from them.
    """
    weight = np.zeros(features.shape[1])
    caution = _CAUTION * np.eye(len(weight))
    for _ in range(_STEPS):
        chance = sigmoid(features @ weight)
        slope = features.T @ (chance - is_so) / len(features) + caution @ weight
        spread_out = (chance * (1 - chance))[:, None]
        curvature = features.T @ (features * spread_out) / len(features) + caution
        step = np.linalg.solve(curvature, slope)
        weight -= step
        if np.abs(step).max() < 1e-9:
            break
    return weight
