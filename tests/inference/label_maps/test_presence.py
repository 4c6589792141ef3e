import numpy as np
import pytest

from escnet.inference.label_maps.labelling import merge_queries
from escnet.inference.label_maps.presence import peak, peak_probabilities
from escnet.inference.label_maps.windows import NATIVE, Windows
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_picture, colour_segmenter


def test_a_single_place_of_many_is_not_the_peak() -> None:
    logits = np.zeros((50, 50), np.float32)
    logits[:2, 0] = 7.0
    assert peak(logits) == 0.0
    logits[2, 0] = 5.0
    assert peak(logits) == 5.0


def test_labels_without_a_map_are_nowhere_and_contrast_is_no_label() -> None:
    logits = np.full((3, 2, 2), 1.0, np.float32)
    found = peak_probabilities([0, 2, 3], logits, 3)
    one = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(found, [one, 0, one], rtol=1e-6)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return colour_segmenter()


@pytest.mark.parametrize("windows", [None, NATIVE])
def test_a_result_says_what_the_picture_shows(
    segmenter: Segmenter, windows: Windows | None
) -> None:
    picture = colour_picture()
    picture[picture[..., 2] > 0] = (0, 255, 0)  # no blue
    vocabulary = Vocabulary.of(["red", "green", "blue"], has_background=True)
    result = segmenter.segment_pixels(picture, vocabulary, SegmentOptions(windows=windows))
    assert result.presence is not None
    assert result.presence[:2] == pytest.approx([1, 1])
    assert result.presence[2] == pytest.approx(0.5)  # a logit of 0
    assert np.isnan(result.presence[3])
    said = [entry["presence"] for entry in result.summary()["names"]]
    assert said == [1.0, 1.0, 0.5, None]


def test_a_label_is_as_present_as_its_best_synonym(segmenter: Segmenter) -> None:
    vocabulary = Vocabulary.of({"colour": ["blue", "red"], "green": "green"})
    whole = segmenter.whole_logits(colour_picture(), vocabulary, SegmentOptions())
    labels, maps = whole.of_labels()
    assert labels == [0, 1]
    np.testing.assert_array_equal(maps, merge_queries(whole.logits, [0, 0, 1]))
    result = segmenter.segment_pixels(colour_picture(), vocabulary)
    assert result.presence == pytest.approx([1, 1])
