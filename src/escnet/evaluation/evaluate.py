"""Scores of a segmenter on a folder of pictures with label maps.

The whole picture is one view; every source's class names are used exactly as its classes.json
writes them; pixels that nobody labelled, and those of no class, count nowhere.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt

from escnet.data.folder import FolderDataset, FolderItem
from escnet.data.label_map import read_label_map
from escnet.errors import DatasetError
from escnet.evaluation.metrics import ConfusionMatrix, Scores
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary

Predict = Callable[[FolderItem, Vocabulary], UInt[np.ndarray, "H W"]]


def evaluate(
    dataset: FolderDataset,
    predict: Predict,
    on_picture: Callable[[int], None] | None = None,
) -> dict[str, Scores]:
    """The scores of each source that has a labelled pixel.

    Args:
        dataset: Pictures with label maps, of one or more sources.
        predict: From a picture and its source's class names to a label map of the picture's size.
        on_picture: Called with the number of finished pictures.

    Raises:
        DatasetError: If a label map does not have its picture's size.
    """
    matrices = {
        name: ConfusionMatrix(len(dataset.source(name).classes), ignore_label=dataset.ignore_index)
        for name in dataset.sources
    }
    for count, item in enumerate(dataset, 1):
        truth = read_label_map(item.mask_path).astype(np.int64)  # holds any ignore index
        found = predict(item, Vocabulary.of(dataset.source(item.source).classes))
        if truth.shape != found.shape:
            raise DatasetError(
                f"label map {item.mask_path.name} is {truth.shape[1]} x {truth.shape[0]}, but its "
                f"picture is {found.shape[1]} x {found.shape[0]}: they must agree"
            )
        truth = np.where(truth == dataset.background_index, dataset.ignore_index, truth)
        matrices[item.source].add(truth, found)
        if on_picture is not None:
            on_picture(count)
    return {name: matrix.scores() for name, matrix in matrices.items() if matrix.counts.any()}


def predict_with(segmenter: Segmenter) -> Predict:
    """How `evaluate` asks a segmenter."""

    def predict(item: FolderItem, vocabulary: Vocabulary) -> UInt[np.ndarray, "H W"]:
        return segmenter.segment(item.image_path, vocabulary).label_map

    return predict
