import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.class_lists.details import LabelDetails
from escnet.errors import VocabularyError
from escnet.inference.names import suggestions
from escnet.inference.names.name_trial import MOST_EXAMPLES, MOST_LABELS, as_table, try_names
from escnet.inference.names.suggestions import Synonyms, near_words
from escnet.inference.names.trial_page import trial_page
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_picture, colour_segmenter


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(MOST_EXAMPLES + 2)]
    for number, path in enumerate(paths):
        pixels = colour_picture()
        pixels[: number + 1] = (255, 0, 0)
        Image.fromarray(pixels).save(path)
    return paths


def test_shares_are_those_of_all_pixels(pictures: list[Path]) -> None:
    trial = try_names(colour_segmenter(), Vocabulary.of(["red", "green", "blue"]), pictures[:1])
    red, green, blue = trial.labels
    assert red.share == pytest.approx(1 - 20 * 24 / 1200)
    assert blue.share == pytest.approx(100 / 1200)
    assert red.share + green.share + blue.share == pytest.approx(1)
    assert blue.num_pictures == 1
    assert red.confidence is not None
    assert red.confidence > 0.9


def test_what_a_label_is_mixed_up_with_is_told(pictures: list[Path]) -> None:
    names = Vocabulary.of(["red", "green", "blue"])
    mixed = np.zeros((10, 10, 3), np.uint8)
    mixed[:5] = (200, 195, 0)
    mixed[5:] = (0, 0, 255)
    Image.fromarray(mixed).save(pictures[0])
    red, green, blue = try_names(colour_segmenter(), names, pictures[:1]).labels
    assert red.mixed_with == [("green", 0.5)]
    assert green.near_share == 0.5
    assert green.near_wins[0].share == 0.5
    assert blue.mixed_with == []
    assert green.wins == []


def test_the_best_examples_are_kept(pictures: list[Path]) -> None:
    red = try_names(colour_segmenter(), Vocabulary.of(["red", "green"]), pictures).labels[0]
    assert len(red.wins) == MOST_EXAMPLES
    assert red.wins[0].picture == pictures[-1]
    shares = [one.share for one in red.wins]
    assert shares == sorted(shares, reverse=True)


def test_a_broken_picture_does_not_stop_the_others(pictures: list[Path]) -> None:
    pictures[0].write_bytes(b"no picture")
    trial = try_names(colour_segmenter(), Vocabulary.of(["red"]), pictures)
    assert trial.num_pictures == len(pictures) - 1
    assert [path for path, _ in trial.failures] == [pictures[0]]


def test_thousands_of_labels_are_not_tried() -> None:
    names = Vocabulary.of([str(number) for number in range(MOST_LABELS + 1)])
    with pytest.raises(VocabularyError, match="1,001 labels are more than the 1,000"):
        try_names(colour_segmenter(), names, [])


def test_a_word_that_covers_what_words_agree_on_is_suggested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The label means red and green, its own query red alone, and "grey" stands for both."""
    monkeypatch.setattr(suggestions, "known_words", lambda: ["grey", "green"])
    names = Vocabulary.of({"meadow": ["red"], "water": ["blue"]})
    synonyms = Synonyms(colour_segmenter(), names)
    synonyms.add(colour_picture())
    (best,) = synonyms.suggestions()
    assert (best.label, best.kind, best.query) == ("meadow", "add", "grey")
    assert best.agreement == 1
    assert best.own == pytest.approx(720 / 1100)
    assert "add the query 'grey'" in best.message


def test_a_query_that_covers_nothing_of_what_the_others_do_can_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suggestions, "known_words", list)
    names = Vocabulary.of({"meadow": ["red", "grey", "pink", "blue"], "water": ["green"]})
    synonyms = Synonyms(colour_segmenter(), names)
    synonyms.add(np.full((20, 20, 3), (255, 0, 0), np.uint8))
    assert [(one.kind, one.query) for one in synonyms.suggestions()] == [("leave out", "blue")]


def test_words_belong_to_the_label_that_they_are_nearest_to() -> None:
    asked = np.eye(3, dtype=np.float32)
    words = np.array([[1, 0.2, 0], [0, 1, 0.9], [0.1, 0, 1], [0.9, 0, 0]], np.float32)
    assert near_words(asked, [0, 1, 2], words, 2) == {0: [3, 0], 1: [1]}


def test_groups_and_contrast_queries_are_not_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "known_words", lambda: ["red", "green"])
    details = LabelDetails(group="red", contrast=("green",))
    names = Vocabulary.of(["grey", "blue"]).with_details("grey", details)
    synonyms = Synonyms(colour_segmenter(), names)
    synonyms.add(colour_picture())
    assert synonyms.suggestions() == []


def test_the_page_has_a_sheet_for_each_label_and_escapes_names(pictures: list[Path]) -> None:
    trial = try_names(colour_segmenter(), Vocabulary.of({"<b>": ["red"]}), pictures[:1])
    page = trial_page(trial, "a & b").decode()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "data:image/jpeg;base64," in page
    assert json.dumps(as_table(trial.labels))
