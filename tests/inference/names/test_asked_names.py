from dataclasses import replace

import numpy as np
import pytest

from escnet.class_lists.details import LabelDetails, TaughtVectors
from escnet.errors import VocabularyError
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_picture, colour_segmenter

HASH = colour_segmenter().weights_hash
BLUE = TaughtVectors.of(np.array([[0.0, 0.0, 2.0]]), weights_hash=HASH, model="colours")
WHOLE_WINDOWS = [None, "native"]


def with_blue(*, instead: bool = False) -> Vocabulary:
    details = LabelDetails(taught=(replace(BLUE, replaces_text=instead),))
    return Vocabulary.of({"red": "red", "cave": ["green"]}).with_details("cave", details)


@pytest.mark.parametrize("windows", WHOLE_WINDOWS)
def test_a_taught_vector_is_asked_beside_the_text(windows: str | None) -> None:
    result = colour_segmenter().segment(colour_picture(), with_blue(), windows=windows)
    assert result.mask("cave")[15, 20]
    assert result.mask("cave")[7, 10]
    assert result.mask("red")[0, 0]


@pytest.mark.parametrize("windows", WHOLE_WINDOWS)
def test_a_taught_vector_is_asked_in_place_of_the_text(windows: str | None) -> None:
    segmenter = colour_segmenter()
    result = segmenter.segment(colour_picture(), with_blue(instead=True), windows=windows)
    assert result.mask("cave")[15, 20]
    assert not result.mask("cave")[7, 10]
    asked = segmenter.asked(with_blue(instead=True))
    assert asked.owner == (0, 1)
    assert asked.texts == ("red", "cave, as taught (1)")


def test_results_tell_what_was_taught() -> None:
    beside, instead = (
        colour_segmenter().segment(colour_picture(), with_blue(instead=how)).settings["taught"]
        for how in (False, True)
    )
    assert beside != instead
    plain = colour_segmenter().segment(colour_picture(), ["red"])
    assert "taught" not in plain.settings


def test_vectors_of_another_model_are_one_line_with_the_way_out() -> None:
    others = LabelDetails(taught=(replace(BLUE, weights_hash="f" * 64, model="mini"),))
    names = Vocabulary.of(["red", "cave"]).with_details("cave", others)
    with pytest.raises(VocabularyError, match=r"'cave' was taught for mini \(f{12}\), not for"):
        colour_segmenter().segment(colour_picture(), names)
    both = LabelDetails(taught=(*others.taught, BLUE))
    asked = colour_segmenter().asked(names.with_details("cave", both))
    assert asked.owner == (0, 1, 1)


def test_vectors_of_another_width_are_one_line() -> None:
    wide = TaughtVectors.of(np.ones((1, 5)), weights_hash=HASH, model="colours")
    names = Vocabulary.of(["red"]).with_details("red", LabelDetails(taught=(wide,)))
    with pytest.raises(VocabularyError, match="vectors of 5 numbers, but colours has 3: teach it"):
        colour_segmenter().segment(colour_picture(), names)


@pytest.mark.parametrize("windows", WHOLE_WINDOWS)
@pytest.mark.parametrize("background", [False, True])
def test_what_a_contrast_query_wins_is_void_or_the_rest(
    windows: str | None, background: bool
) -> None:
    names = Vocabulary.of(["red", "green"]).with_details("red", LabelDetails(contrast=("blue",)))
    result = colour_segmenter().segment(
        colour_picture(), names, background=background, windows=windows
    )
    assert result.label_map[15, 20] == (2 if background else result.void_label)
    assert result.mask("green")[7, 10]
    assert result.mask("red")[0, 0]
    assert result.settings["not"] == {"red": ["blue"]}


@pytest.mark.parametrize("windows", WHOLE_WINDOWS)
def test_a_label_has_a_threshold_of_its_own(windows: str | None) -> None:
    names = Vocabulary.of(["red", "green", "blue"])
    segmenter = colour_segmenter()
    picture = colour_picture() // 16  # so that nothing is sure
    plain = segmenter.segment(picture, names, windows=windows)
    least = float(plain.confidence[0, 0]) + 0.05
    strict = names.with_details("red", LabelDetails(void_below=least))
    result = segmenter.segment(picture, strict, windows=windows)
    assert result.label_map[0, 0] == result.void_label
    assert result.mask("green")[7, 10]
    assert result.settings["own_void_below"] == {"red": least}


def test_vectors_that_have_no_direction_cannot_be_taught() -> None:
    for vectors in (np.zeros((1, 3)), np.full((1, 3), np.nan), np.empty((0, 3))):
        with pytest.raises(VocabularyError, match="taught vectors: "):
            TaughtVectors.of(vectors, weights_hash=HASH, model="colours")
