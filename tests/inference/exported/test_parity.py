"""The built-in model's graphs against PyTorch."""

from pathlib import Path

import numpy as np
import pytest

from escnet.data.image import read_image
from escnet.inference.exported.method import load_exported
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary
from escnet.weights.catalog import BUILT_IN_FOLDER
from tests.answers import answers

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMES = "cup=cup|coffee cup, table, spoon, cat, sky"


@pytest.fixture(scope="module")
def by_graphs() -> Segmenter:
    loaded = load_exported(BUILT_IN_FOLDER, threads=1, is_trusted=True)
    return Segmenter(
        loaded.method,
        model="mini",
        weights_hash=loaded.weights_hash,
        share_prior=loaded.share_prior,
    )


@pytest.fixture(scope="module")
def by_torch() -> Segmenter:
    return Segmenter.load("mini", device="cpu")


def test_the_graphs_say_what_the_network_says(by_graphs: Segmenter, by_torch: Segmenter) -> None:
    names = Vocabulary.of(NAMES)
    text = by_graphs.text_embedding(names)
    np.testing.assert_allclose(text, by_torch.text_embedding(names), atol=1e-5)
    pixels = read_image(EXAMPLES / "coffee.jpg")
    for number in (1, len(text)):
        (found,) = answers(by_graphs.method, [pixels], text[:number])
        (expected,) = answers(by_torch.method, [pixels], text[:number])
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3)
    own, other = (one.segment(pixels, names) for one in (by_graphs, by_torch))
    assert (own.label_map == other.label_map).mean() >= 0.999
    assert own.weights_hash == other.weights_hash
