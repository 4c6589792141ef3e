"""Scores of a network in training on pictures that it never trains on, and what it says of some.

Sizes: H x W pixels.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.evaluation.evaluate import evaluate
from escnet.evaluation.metrics import Scores
from escnet.evaluation.target import folder_targets
from escnet.inference.methods.tokens import Tokenize
from escnet.inference.segmenter import Segmenter
from escnet.structures import structure_of
from escnet.towers.network import Network
from escnet.vocabulary import Vocabulary


class LabelledAnswer(NamedTuple):
    """What a network says of a picture, and the truth."""

    item: LabelledPicture
    names: tuple[str, ...]
    truth: Integer[np.ndarray, "H W"]
    prediction: UInt[np.ndarray, "H W"]


class Validation:
    """Asks a network about pictures with label maps, in the way that it will be used.

    Args:
        network: May change between the calls.
        tokenize: Its text tower's.
        dataset: The pictures.
        dtype: What matrix products are computed in.
    """

    def __init__(
        self, network: Network, tokenize: Tokenize, dataset: FolderDataset, *, dtype: str
    ) -> None:
        self._network, self._tokenize, self._dtype = network, tokenize, dtype
        self._dataset = dataset

    def scores(self, most_pictures: int = 0) -> dict[str, Scores]:
        """The scores of each source.

        Args:
            most_pictures: Evenly spread ones are asked about; 0 for all.
        """
        items = self._dataset.items
        if 0 < most_pictures < len(items):
            chosen = np.linspace(0, len(items) - 1, most_pictures).round().astype(int)
            items = tuple(items[index] for index in chosen)
        segmenter = self._segmenter()
        return evaluate(
            replace(self._dataset, items=items),
            lambda item, vocabulary: _label_map(segmenter, item, vocabulary),
        )

    def answers(self, most_pictures: int) -> Iterator[LabelledAnswer]:
        """What the network says of some pictures, always the same ones, of every source."""
        pairs = [
            (target, item) for target in folder_targets(self._dataset) for item in target.items
        ]
        num_shown = min(most_pictures, len(pairs))
        segmenter = self._segmenter()
        for index in np.linspace(0, len(pairs) - 1, num_shown).round().astype(int):
            target, item = pairs[index]
            prediction = _label_map(segmenter, item, Vocabulary.of(target.classes))
            yield LabelledAnswer(item, target.classes, item.read_truth(), prediction)

    def _segmenter(self) -> Segmenter:
        """One of the weights as they are now: it remembers text embeddings."""
        network, device = self._network, next(self._network.parameters()).device.type
        make_method = structure_of(network.config.model_type).method()
        method = make_method(network, self._tokenize, device=device, dtype=self._dtype)
        return Segmenter(method, model="", weights_hash="", share_prior=method.share_prior)


def _label_map(
    segmenter: Segmenter, item: LabelledPicture, vocabulary: Vocabulary
) -> UInt[np.ndarray, "H W"]:
    return segmenter.segment(read_image(item.image_path), vocabulary, exact=True).label_map


def mean_miou(scores: dict[str, Scores]) -> float:
    """The mean of the sources' mean IoU over the classes in the truth; 0 without a source."""
    values = [score.miou_in_truth for score in scores.values()]
    return float(np.mean(values)) if values else 0.0
