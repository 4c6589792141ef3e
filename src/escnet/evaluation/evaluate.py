"""Pictures in, counts out: a model's label maps beside the truth.

The scores are taken at each picture's own size. Pixels that nobody labelled count nowhere, and a
picture without any other pixel is not even asked about.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, UInt, UInt8

from escnet.data.check import pair_checksum
from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.label_map import check_same_size
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.picture_file import PictureFile
from escnet.errors import DatasetError, ImageError
from escnet.evaluation.metrics import (
    ConfusionMatrix,
    PictureCounts,
    Scores,
    check_labels,
    count_picture,
)
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.records import PictureRecord
from escnet.evaluation.reliability import Reliability
from escnet.evaluation.target import EvalTarget, Question, folder_targets
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureWithPixels(LabelledPicture):
    """A picture of an evaluation, read.

    Attributes:
        pixels: The picture as it is displayed.
    """

    pixels: UInt8[np.ndarray, "H W 3"]

    @classmethod
    def of(cls, item: LabelledPicture, pixels: UInt8[np.ndarray, "H W 3"]) -> "PictureWithPixels":
        """A picture with its pixels."""
        own = {field.name: getattr(item, field.name) for field in fields(LabelledPicture)}
        return cls(**own, pixels=pixels)


# A label map alone has no confidence that could be held against the truth.
Predict = Callable[[PictureWithPixels, Vocabulary], UInt[np.ndarray, "H W"] | Segmentation]


class AnsweredItem(NamedTuple):
    """A picture's truth and what was said of it.

    Attributes:
        truth: Its classes.
        prediction: The class that was said of each pixel.
        seconds: From the decoded picture to its label map.
        confidence: Of each pixel; None if it is not known.
    """

    truth: Integer[np.ndarray, "H W"]
    prediction: Integer[np.ndarray, "H W"]
    seconds: float
    confidence: Float[np.ndarray, "H W"] | None = None


class CountedItem(NamedTuple):
    """What was counted in a picture.

    Attributes:
        counts: Of its classes.
        seconds: From the decoded picture to its label map.
        truth: Its classes.
        reliability: Of the answer's confidence; None if it is not known.
    """

    counts: PictureCounts
    seconds: float
    truth: Integer[np.ndarray, "H W"]
    reliability: Reliability | None


def evaluate(
    dataset: FolderDataset,
    predict: Predict,
    on_picture: Callable[[int], None] | None = None,
) -> dict[str, Scores]:
    """The scores of each source that has a labelled pixel, seen as a whole and kept nowhere.

    Args:
        dataset: Pictures with label maps, of one or more sources.
        predict: From a picture and its source's class names to a label map of the picture's size.
        on_picture: Called with the number of finished pictures.

    Raises:
        DatasetError: If a label map does not have its picture's size, or holds another label.
    """
    scores, finished = {}, 0
    for target in folder_targets(dataset):
        matrix = ConfusionMatrix(len(target.classes), ignore_label=target.ignore_label)
        question = Question(target, WHOLE_VIEW)
        for item in target.items:
            read = PictureWithPixels.of(item, read_image(item.image_path))
            matrix.add_counts(count_item(target, question, read, predict)[0])
            finished += 1
            if on_picture is not None:
                on_picture(finished)
        if matrix.counts.any():
            scores[target.name] = matrix.scores()
    return scores


def record_item(
    target: EvalTarget,
    question: Question,
    item: LabelledPicture,
    predict: Predict,
    *,
    skip_bad: bool,
) -> PictureRecord:
    """What becomes of one picture.

    Args:
        target: What is evaluated on.
        question: What is asked about its pictures.
        item: The picture.
        predict: Asks the model.
        skip_bad: Whether a picture or label map that cannot be used is recorded as skipped.

    Raises:
        DatasetError: If the label map cannot be used.
        ImageError: If the picture cannot be read.
    """
    try:
        with PictureFile(item.image_path) as file:
            read = PictureWithPixels.of(item, file.read().pixels)
            counted = count_item(target, question, read, predict)
            checksum = pair_checksum(file, counted.truth)
    except (DatasetError, ImageError) as error:
        if not skip_bad:
            raise
        return PictureRecord(stem=item.stem, counts=None, skipped=str(error))
    return PictureRecord(
        stem=item.stem,
        counts=counted.counts,
        seconds=counted.seconds,
        checksum=checksum,
        reliability=counted.reliability,
    )


def count_item(
    target: EvalTarget, question: Question, item: PictureWithPixels, predict: Predict
) -> CountedItem:
    """What was counted in one picture.

    Raises:
        DatasetError: If the label map cannot be read, does not have the picture's size, or holds a
            label that is no class.
    """
    answer = answer_item(target, question, item, predict)
    truth, prediction = answer.truth, answer.prediction
    counts = count_picture(
        truth, prediction, num_classes=len(target.classes), ignore_label=target.ignore_label
    )
    reliability = None
    if answer.confidence is not None:
        counted = truth != target.ignore_label
        reliability = Reliability.of(answer.confidence[counted], (truth == prediction)[counted])
    return CountedItem(counts, answer.seconds, truth, reliability)


def answer_item(
    target: EvalTarget, question: Question, item: PictureWithPixels, predict: Predict
) -> AnsweredItem:
    """The truth of one picture, and what the model says of it.

    Raises:
        DatasetError: If the label map cannot be read, does not have the picture's size, or holds a
            label that is no class.
    """
    truth = _checked_truth(target, item)
    labels = np.unique(truth)
    asked = question.about([int(label) for label in labels if label != target.ignore_label])
    if asked is None:
        return AnsweredItem(truth, np.full_like(truth, len(target.classes) - 1), 0.0)
    vocabulary, class_of = asked
    class_of = np.append(class_of, len(target.classes))  # an answer behind the names is no class
    start = time.monotonic()
    answer = predict(item, vocabulary)
    seconds = time.monotonic() - start
    if isinstance(answer, Segmentation):
        label_map, confidence = answer.label_map, answer.confidence
    else:
        label_map, confidence = answer, None
    prediction = class_of[label_map]
    check_same_size(item.truth_name, truth.shape, prediction.shape)
    return AnsweredItem(truth, prediction, seconds, confidence)


def _checked_truth(target: EvalTarget, item: PictureWithPixels) -> Integer[np.ndarray, "H W"]:
    truth = item.read_truth().astype(np.int64)
    check_same_size(item.truth_name, truth.shape, item.pixels.shape[:2])
    check_labels(
        truth,
        num_classes=len(target.classes),
        ignore_label=target.ignore_label,
        shown=item.truth_name,
    )
    return truth
