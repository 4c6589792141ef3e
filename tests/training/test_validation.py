from pathlib import Path

import numpy as np
import torch

from escnet.inference.methods.tokens import byte_tokenizer
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.training.validation import validation_of_pictures


def test_answers_have_the_networks_share_prior(data_folder: Path) -> None:
    largest = []
    for share_prior in (0.0, 20.0):
        torch.manual_seed(0)
        config = EscNetConfig(**{**preset("tiny").to_diff_dict(), "share_prior": share_prior})
        tokenize = byte_tokenizer(298, 299, 77)
        validation = validation_of_pictures(
            EscNet(config).eval(), tokenize, data_folder, dtype="float32"
        )
        answers = list(validation.answers(4))
        assert len(answers) == 4
        largest.append(sum(np.bincount(answer.prediction.ravel()).max() for answer in answers))
    assert largest[1] > largest[0]
