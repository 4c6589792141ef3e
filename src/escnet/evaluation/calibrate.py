"""Labelled pictures in, a calibration out: how often is a model right where it says 0.8?

Every picture gives as many pixels, as those of one picture are right or wrong together. The fit is
a logistic regression of whether a pixel is right, by its logit and the number of names.

Sizes: K pixels, F features.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float16, Float64

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError
from escnet.evaluation.evaluate import PictureWithPixels, answer_item
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.reliability import Reliability
from escnet.evaluation.target import AskedClasses, EvalTarget, Question, folder_targets
from escnet.inference.calibration import Calibration
from escnet.inference.label_maps.curve import LARGEST_LOGIT, LEAST_SLOPE
from escnet.inference.label_maps.probability import logits_of, sigmoid
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

Item = TypeVar("Item")

FEWEST_PICTURES = 4

_PIXELS = 4096  # of a picture
_STEPS = 50  # of Newton's method, which needs about ten
_CAUTION = 1e-4  # against the mean of the loss: what all pixels agree on is no certainty


class PictureAnswers(NamedTuple):
    """What a model said of some pixels of a picture.

    Attributes:
        source: The picture's.
        num_names: How many were asked.
        probability: Of each pixel's own name, as the model has it.
        is_right: Whether it is the truth's.
    """

    source: str
    num_names: int
    probability: Float16[np.ndarray, " K"]
    is_right: Bool[np.ndarray, " K"]


class SourceFit(NamedTuple):
    """How far confidence can be relied on in a source.

    Attributes:
        source: Its name.
        num_pictures: How many there are.
        before: The expected calibration error of the probabilities, from 0 to 1.
        after: That of confidences, each picture's by a fit to the other half of all pictures.
    """

    source: str
    num_pictures: int
    before: float
    after: float


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
    num_names = len(target.classes) if target.asked is None else len(target.asked.names)

    def predict(item: PictureWithPixels, vocabulary: Vocabulary) -> Segmentation:
        return segmenter.segment_pixels(item.pixels, vocabulary, options)

    for item in items:
        read = PictureWithPixels.of(item, read_image(item.image_path))
        answer = answer_item(target, question, read, predict)
        on_picture()
        place = np.flatnonzero(answer.truth != target.ignore_label)
        if not place.size or answer.confidence is None:
            continue
        place = place[np.linspace(0, place.size - 1, min(_PIXELS, place.size)).astype(int)]
        is_right = answer.truth.flat[place] == answer.prediction.flat[place]
        yield PictureAnswers(target.name, num_names, answer.confidence.flat[place], is_right)


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
    if len(answers) < FEWEST_PICTURES:
        raise DatasetError(
            f"{len(answers)} pictures with a labelled pixel, asked for two names or more, are too "
            f"few to fit confidence to: give {FEWEST_PICTURES} or more, better a hundred"
        )
    num_pictures = Counter(one.source for one in answers)

    def fitted(some: Sequence[PictureAnswers]) -> Calibration:
        slope, per_log_names, shift = _logistic(some)
        numbers = [one.num_names for one in some]
        return Calibration(
            weights_hash=segmenter.weights_hash,
            asked=segmenter.how_asked(segmenter.resolved(options)),
            slope=slope,
            shift=shift,
            per_log_names=per_log_names,
            fewest_names=min(numbers),
            most_names=max(numbers),
            fitted_to=dict(num_pictures),
        )

    # Every other picture, so that each is tested by a fit that has not seen it.
    others = [fitted(answers[1::2]), fitted(answers[::2])]
    before: dict[str, Reliability] = {}
    after: dict[str, Reliability] = {}
    for number, one in enumerate(answers):
        curve = others[number % 2].curve(one.num_names)
        confidence = curve.of(one.probability.astype(np.float32))
        for kept, said in ((before, one.probability), (after, confidence)):
            kept[one.source] = kept.get(one.source, Reliability()) + Reliability.of(
                said, one.is_right
            )
    fits = [
        SourceFit(name, number, before[name].calibration_error, after[name].calibration_error)
        for name, number in num_pictures.items()
    ]
    return fitted(answers), fits


def _logistic(answers: Sequence[PictureAnswers]) -> tuple[float, float, float]:
    """Weights of the logit and of the logarithm of the number of names, and the constant."""
    logit = np.concatenate([logits_of(one.probability.astype(np.float64)) for one in answers])
    log_names = np.concatenate(
        [np.full(len(one.is_right), np.log(one.num_names)) for one in answers]
    )
    is_right = np.concatenate([one.is_right for one in answers])
    logit = logit.clip(-LARGEST_LOGIT, LARGEST_LOGIT)
    middle = log_names.mean()
    features = np.stack([logit, log_names - middle, np.ones_like(logit)], axis=1)
    slope, per_log_names, shift = logistic_regression(features, is_right).tolist()
    return max(slope, LEAST_SLOPE), per_log_names, shift - per_log_names * middle


def logistic_regression(
    features: Float64[np.ndarray, "K F"], is_right: Bool[np.ndarray, " K"]
) -> Float64[np.ndarray, " F"]:
    """The weights that make the sigmoid of the weighted features the likeliest, a little cautious.

    Args:
        features: Of every pixel.
        is_right: What is to be told from them.
    """
    weight = np.zeros(features.shape[1])
    caution = _CAUTION * np.eye(len(weight))
    for _ in range(_STEPS):
        chance = sigmoid(features @ weight)
        slope = features.T @ (chance - is_right) / len(features) + caution @ weight
        spread_out = (chance * (1 - chance))[:, None]
        curvature = features.T @ (features * spread_out) / len(features) + caution
        step = np.linalg.solve(curvature, slope)
        weight -= step
        if np.abs(step).max() < 1e-9:
            break
    return weight
