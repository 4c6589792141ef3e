from pathlib import Path

import numpy as np
import torch

from escnet.data.folder import FolderDataset
from escnet.inference.methods.tokens import byte_tokenizer
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.training.validation import Validation
from tests.mini.conftest import MINI


def test_answers_have_the_networks_share_prior(data_folder: Path) -> None:
    largest = []
    for share_prior in (0.0, 20.0):
        torch.manual_seed(0)
        config = MiniConfig(**{**MINI, "share_prior": share_prior})
        tokenize = byte_tokenizer(298, 299, 77)
        dataset = FolderDataset.read(data_folder)
        validation = Validation(Mini(config).eval(), tokenize, dataset, dtype="float32")
        answers = list(validation.answers(4))
        assert len(answers) == 4
        largest.append(sum(np.bincount(answer.prediction.ravel()).max() for answer in answers))
    assert largest[1] > largest[0]
