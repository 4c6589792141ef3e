"""FiftyOne: a model for `apply_model`, and the names of a field's values.

    model = Model(["road", "sky"])
    dataset.apply_model(model, label_field="escnet")
    dataset.mask_targets = {"escnet": model.mask_targets}

In FiftyOne 0 is no class, so a value is the index of a name plus one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt, UInt8

from escnet.extras import module_of_extra
from escnet.inference.segmenter import Names, Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

fiftyone = module_of_extra("fiftyone", "fiftyone")
_Base: Any = module_of_extra("fiftyone.core.models", "fiftyone").Model


@dataclass
class Config:
    """What `apply_model` sets while it runs.

    Attributes:
        confidence_thresh: Pixels of lower confidence get no class.
        filter_classes: The names that are wanted, if not all; the others still compete for pixels.
    """

    confidence_thresh: float | None = None
    filter_classes: Iterable[str] | None = None


class Model(_Base):
    """A segmenter with its names, as FiftyOne's models are.

    Args:
        classes: Class names.
        segmenter: What segments; the built-in model, if not given.
        confidence: Whether `predict` gives a heat map of each pixel's confidence too, in a field
            of its own.

    Attributes:
        config: What `apply_model` sets.

    Raises:
        VocabularyError: If the names are empty, repeated or too long.
    """

    media_type = "image"
    ragged_batches = True
    transforms = None
    preprocess = False

    def __init__(
        self, classes: Names, *, segmenter: Segmenter | None = None, confidence: bool = False
    ) -> None:
        self._vocabulary = Vocabulary.of(classes)
        self._segmenter = Segmenter.load() if segmenter is None else segmenter
        self._confidence = confidence
        self.config = Config()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names; set others, and the next prediction is of them."""
        return self._vocabulary.labels

    @classes.setter
    def classes(self, names: Names) -> None:
        self._vocabulary = Vocabulary.of(names)

    @property
    def mask_targets(self) -> dict[int, str]:
        """The name of each value, as `dataset.mask_targets` takes it for a field."""
        return mask_targets(self.classes)

    def predict(self, arg: UInt8[np.ndarray, "H W 3"]) -> Any:
        """A `fiftyone.Segmentation`, and with `confidence` a `fiftyone.Heatmap` beside it.

        Args:
            arg: The picture, as FiftyOne reads it.
        """
        threshold = self.config.confidence_thresh
        result = self._segmenter.segment(arg, self._vocabulary, void_below=threshold or 0.0)
        label = to_segmentation(result, self.config.filter_classes)
        if not self._confidence:
            return label
        heat_map = fiftyone.Heatmap(map=result.confidence.astype(np.float32), range=[0, 1])
        return {"names": label, "confidence": heat_map}


def mask_targets(names: Iterable[str]) -> dict[int, str]:
    """The name of each value in the masks of `to_segmentation`."""
    return dict(enumerate(names, 1))


def to_segmentation(result: Segmentation, only: Iterable[str] | None = None) -> Any:
    """A `fiftyone.Segmentation` of a result; its `confidence` is the mean over the named pixels.

    Args:
        result: One picture's result.
        only: The names whose pixels are told, if not all.
    """
    wanted = set(result.names if only is None else only)
    values = np.zeros(result.void_label + 1, result.label_map.dtype)  # (labels,)
    for index, name in enumerate(result.names):
        values[index] = index + 1 if name in wanted else 0
    mask: UInt[np.ndarray, "H W"] = values[result.label_map]
    named = result.confidence[mask > 0]
    return fiftyone.Segmentation(mask=mask, confidence=float(named.mean()) if named.size else 0.0)
