import json
from pathlib import Path

import numpy as np
import pytest
import torch

from escnet.errors import ConfigError, WeightsError
from escnet.inference.method import Method
from escnet.inference.training_free import load_training_free, parse_choices


def test_choices_follow_a_question_mark() -> None:
    choices = parse_choices("some/clip?attention=sclip&templates=single")
    assert choices == ("some/clip", "sclip", "single")


@pytest.mark.parametrize("name", ["x?attention=foo", "x?size=3", "x?templates="])
def test_an_unknown_choice_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="choose from"):
        parse_choices(name)


def test_a_model_of_unknown_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip"}))
    with pytest.raises(WeightsError, match=r"'blip'.*clip, siglip and escnet"):
        load_training_free(str(tmp_path), device="cpu", dtype="float32")


def test_an_esc_net_answers_with_its_correlation() -> None:
    method, _ = load_training_free("tiny", device="cpu", dtype="float32")
    assert isinstance(method, Method)
    view = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    text = method.encode_text(["cat", "dog"])
    (found,) = method.logits([view], text)
    assert found.kept == [0, 1]
    network = method.correlator.network
    image = torch.zeros(1, 3, method.view_size, method.view_size)
    assert found.logits.shape == network.correlate(network.vision(image), text)[0].shape
