"""Scores of a network in training on pictures that it never trains on, and what it says of some.

Sizes: H x W pixels, h x w patches.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Integer, UInt

from escnet.data.folder import FolderDataset
from escnet.data.image import image_size_hw
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError
from escnet.evaluation.evaluate import evaluate
from escnet.evaluation.metrics import Scores
from escnet.evaluation.target import folder_targets
from escnet.inference.label_maps.labelling import label_pixels
from escnet.inference.methods.tokens import Tokenize
from escnet.mini.network import Mini
from escnet.structures import structure_of
from escnet.towers.network import Network
from escnet.towers.patches import Patches
from escnet.training.features import compute_features, whole_view
from escnet.vocabulary import Vocabulary

SeePatches = Callable[[LabelledPicture], Patches]


class Answer(NamedTuple):
    """What a network says of a picture, and the truth."""

    item: LabelledPicture
    names: tuple[str, ...]
    truth: Integer[np.ndarray, "H W"]
    prediction: UInt[np.ndarray, "H W"]


class Validation:
    """Asks a network about pictures with label maps.

    Args:
        network: May change between the calls.
        tokenize: Its text tower's.
        dataset: The pictures.
        see: What the vision tower makes of a picture.
        dtype: What matrix products are computed in.
    """

    def __init__(
        self,
        network: Network,
        tokenize: Tokenize,
        dataset: FolderDataset,
        *,
        see: SeePatches,
        dtype: str,
    ) -> None:
        self._network, self._tokenize, self._dataset = network, tokenize, dataset
        self._see, self._dtype = see, dtype

    def scores(self, most_pictures: int = 0) -> dict[str, Scores]:
        """The scores of each source.

        Args:
            most_pictures: Evenly spread ones are asked about; 0 for all.
        """
        items = self._dataset.items
        if 0 < most_pictures < len(items):
            chosen = np.linspace(0, len(items) - 1, most_pictures).round().astype(int)
            items = tuple(items[index] for index in chosen)
        return evaluate(replace(self._dataset, items=items), self._predict)

    def answers(self, most_pictures: int) -> Iterator[Answer]:
        """What the network says of some pictures, always the same ones, of every source."""
        pairs = [
            (target, item) for target in folder_targets(self._dataset) for item in target.items
        ]
        num_shown = min(most_pictures, len(pairs))
        for index in np.linspace(0, len(pairs) - 1, num_shown).round().astype(int):
            target, item = pairs[index]
            prediction = self._predict(item, Vocabulary.of(target.classes))
            yield Answer(item, target.classes, item.read_truth(), prediction)

    @torch.inference_mode()
    def _predict(self, item: LabelledPicture, vocabulary: Vocabulary) -> UInt[np.ndarray, "H W"]:
        network = self._network
        device = next(network.parameters()).device
        make_method = structure_of(network.config.model_type).method()
        method = make_method(network, self._tokenize, device=str(device), dtype=self._dtype)
        tokens = self._tokenize(vocabulary.templated(network.config.template))
        with torch.autocast(
            device.type, getattr(torch, self._dtype), enabled=self._dtype != "float32"
        ):
            with torch.autocast(device.type, enabled=False):
                text = network.encode_text(tokens.token.to(device), tokens.is_token.to(device))
            answer = method.of_patches(self._see(item), text)
        owner = [vocabulary.owner[row] for row in answer.kept]
        size_hw = image_size_hw(item.image_path)
        return label_pixels(
            answer.logits.cpu(),
            owner,
            len(vocabulary),
            size_hw,
            share_prior=method.share_prior,
        )[0]


def validation_of_stored(
    network: Mini, tokenize: Tokenize, folder: Path, *, cache: Path, dtype: str
) -> Validation:
    """A validation from feature maps that are computed once.

    Args:
        network: Of the built-in model's kind.
        tokenize: Its text tower's.
        folder: A folder dataset.
        cache: Where the feature maps are kept.
        dtype: What matrix products are computed in.

    Raises:
        ConfigError: If the network has a detail, which needs more than feature maps.
        DatasetError: If the folder is not a dataset.
        ImageError: If a picture cannot be read.
        OutputError: If the feature maps cannot be written.
    """
    if network.config.detail:
        raise ConfigError(
            "detail needs the pictures, but the scores are to be of stored feature maps: "
            "validate on pictures"
        )
    dataset = FolderDataset.read(folder)
    vision = network.vision
    size = network.config.image_size
    store = compute_features(vision, list(dataset), cache, image_size=size, mirror=False)

    def see(item: LabelledPicture) -> Patches:
        maps = store.maps([item.stem])
        device = next(vision.parameters()).device
        return vision.project(type(maps)(*(tensor.to(device) for tensor in maps)))

    return Validation(network, tokenize, dataset, see=see, dtype=dtype)


def validation_of_pictures(
    network: Network, tokenize: Tokenize, folder: Path, *, dtype: str
) -> Validation:
    """A validation that runs the vision tower, which may be in training, on every picture.

    Args:
        network: Of any kind.
        tokenize: Its text tower's.
        folder: A folder dataset.
        dtype: What matrix products are computed in.

    Raises:
        DatasetError: If the folder is not a dataset.
    """
    dataset = FolderDataset.read(folder)

    def see(item: LabelledPicture) -> Patches:
        image = whole_view(item.image_path, network.config.image_size)
        return network.vision(image[None].to(next(network.parameters()).device))

    return Validation(network, tokenize, dataset, see=see, dtype=dtype)


def mean_miou(scores: dict[str, Scores]) -> float:
    """The mean of the sources' mean IoU over the classes in the truth; 0 without a source."""
    values = [score.miou_in_truth for score in scores.values()]
    return float(np.mean(values)) if values else 0.0
