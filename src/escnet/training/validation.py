"""Scores of a network in training on pictures that it is never trained on."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt

from escnet.data.folder import FolderDataset
from escnet.data.image import image_size_hw
from escnet.evaluation.evaluate import evaluate
from escnet.evaluation.metrics import Scores
from escnet.evaluation.target import EvalItem
from escnet.inference.labelling import label_pixels
from escnet.inference.memory import class_chunk
from escnet.inference.tokens import Tokenize
from escnet.model.escnet import EscNet
from escnet.training.features import compute_features
from escnet.vocabulary import Vocabulary
from escnet.weights.assemble import paired_towers


@torch.inference_mode()
def validate(
    network: EscNet, tokenize: Tokenize, folder: Path, *, cache: Path, dtype: str
) -> dict[str, Scores]:
    """The scores of each source of a folder, from feature maps that are computed once.

    Args:
        network: Of the built-in model's kind.
        tokenize: Its text tower's.
        folder: A folder dataset.
        cache: Where the feature maps are kept.
        dtype: What matrix products are computed in.

    Raises:
        DatasetError: If the folder is not a dataset.
    """
    dataset = FolderDataset.read(folder)
    config = network.config
    vision, _ = paired_towers(network)
    store = compute_features(
        vision, list(dataset), cache, image_size=config.image_size, mirror=False
    )
    chunk = class_chunk(config)

    def predict(item: EvalItem, vocabulary: Vocabulary) -> UInt[np.ndarray, "H W"]:
        tokens = tokenize(vocabulary.templated(config.template))
        text = network.encode_text(tokens.token, tokens.is_token)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            patches = vision.project(store.maps([item.stem]))
            logits = network.segment(patches, text, chunk).logits[0]
        size_hw = image_size_hw(item.image_path)
        return label_pixels(logits, vocabulary.owner, len(vocabulary), size_hw)[0]

    return evaluate(dataset, predict)
