from typing import Any

import numpy as np
import pytest

from escnet.inference.label_maps.labelling import label_pixels
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.label_maps.ranking import Ranking, Runners
from escnet.inference.label_maps.rest import Rest

SIZE_HW = (3, 4)


def _ranked(
    logits: np.ndarray, num_ranks: int = 3, **options: Any
) -> tuple[np.ndarray, np.ndarray, Ranking]:
    num_names = len(logits) + bool(options.get("rest") is not None)
    ranking = Ranking(num_ranks, num_names, SIZE_HW)
    owner = list(range(len(logits)))
    label_map, confidence = label_pixels(
        logits, owner, len(logits), SIZE_HW, ranking=ranking, **options
    )
    return label_map, confidence, ranking


def _noise(num_labels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num_labels, *SIZE_HW)).astype(np.float32)


def test_the_ranks_are_the_labels_by_their_probabilities() -> None:
    logits = _noise(6)
    _, _, ranking = _ranked(logits)
    order = np.argsort(-logits, axis=0)[:3]
    np.testing.assert_array_equal(ranking.names, order)
    expected = sigmoid(np.take_along_axis(logits, order, 0))
    np.testing.assert_allclose(ranking.probabilities, expected, rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [{}, {"rest": Rest()}, {"share_prior": 3.0}, {"share_prior": 3.0, "rest": Rest()}],
)
def test_the_first_is_the_label_maps_own_and_none_comes_twice(options: dict[str, Any]) -> None:
    label_map, confidence, ranking = _ranked(_noise(5) - 0.5, **options)
    np.testing.assert_array_equal(ranking.names[0], label_map)
    np.testing.assert_array_equal(ranking.probabilities[0], confidence)
    in_order = np.sort(ranking.names, axis=0)
    assert (in_order[1:] != in_order[:-1]).all()
    assert (ranking.probabilities[1] >= ranking.probabilities[2]).all()


def test_the_rest_class_counts_by_what_the_best_label_leaves() -> None:
    logits = np.array([[[2.0]], [[-1.0]], [[-3.0]]], np.float32)
    ranking = Ranking(3, 4, (1, 1))
    label_pixels(logits, [0, 1, 2], 3, (1, 1), rest=Rest(), ranking=ranking)
    assert ranking.names.ravel().tolist() == [0, 1, 3]  # 0.88, 0.27, rest 0.12, 0.05
    label_pixels(logits - 4, [0, 1, 2], 3, (1, 1), rest=Rest(), ranking=ranking)
    assert ranking.names.ravel().tolist() == [3, 0, 1]


def test_void_pixels_keep_their_ranks() -> None:
    logits = _noise(3)
    _, _, ranking = _ranked(logits)
    label_map, _, beside = _ranked(logits, void_below=1.0)
    assert (label_map == 255).all()
    np.testing.assert_array_equal(beside.names, ranking.names)


def test_ranks_that_no_label_has_are_void_without_probability() -> None:
    _, _, ranking = _ranked(_noise(2), num_ranks=4)
    assert (ranking.names[2:] == 255).all()
    assert (ranking.probabilities[2:] == 0).all()


def test_of_equal_labels_the_first_is_ahead() -> None:
    runners = Runners(2, (1, 1))
    for label in (0, 1, 2):
        runners.enter(np.ones((1, 1), np.float32), label)
    assert runners.label.ravel().tolist() == [0, 1]
