from typing import Any

import numpy as np
import pytest

from escnet.errors import ConfigError
from escnet.inference.label_maps.curve import AS_IT_IS, Curve
from escnet.inference.label_maps.labelling import label_pixels
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.label_maps.ranking import Ranking
from escnet.inference.label_maps.rest import Rest

CURVE = Curve(slope=0.5, shift=1.0)
SIZE_HW = (13, 29)


def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (4, 5, 7)).astype(np.float32)


def labelled(curve: Curve, **options: Any) -> tuple[np.ndarray, np.ndarray, Ranking]:
    ranking = Ranking(3, 4, SIZE_HW)
    label_map, confidence = label_pixels(
        noise(), [0, 1, 2, 3], 4, SIZE_HW, ranking=ranking, curve=curve, **options
    )
    return label_map, confidence, ranking


def test_a_hand_computed_curve() -> None:
    logit = np.array([-20.0, -2.0, 0.0, 4.0, 20.0], np.float32)
    expected = sigmoid(np.array([-3.0, 0.0, 1.0, 3.0, 5.0], np.float32))  # beyond 8 counts as 8
    np.testing.assert_allclose(CURVE.of(sigmoid(logit)), expected, rtol=1e-5)
    np.testing.assert_allclose(CURVE.probability_of(expected[1:4]), sigmoid(logit[1:4]), rtol=1e-5)
    assert CURVE.of(np.array([0, 1], np.float32)) == pytest.approx(expected[[0, 4]])


@pytest.mark.parametrize("options", [{}, {"share_prior": 0.5}, {"rest": Rest()}])
def test_no_label_and_no_rank_changes_by_a_curve(options: dict[str, Any]) -> None:
    plain, before, ranks_before = labelled(AS_IT_IS, **options)
    found, after, ranks = labelled(CURVE, **options)
    assert (found == plain).all()
    assert (ranks.names == ranks_before.names).all()
    np.testing.assert_allclose(after, CURVE.of(before.astype(np.float32)), atol=2e-3)
    np.testing.assert_array_equal(ranks.probabilities[0], after)
    assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize("share_prior", [0.0, 2.0])
def test_what_becomes_void_is_decided_by_the_confidence(share_prior: float) -> None:
    threshold = float(CURVE.of(np.array([0.6], np.float32))[0])
    plain, _, _ = labelled(AS_IT_IS, void_below=0.6, share_prior=share_prior)
    found, confidence, _ = labelled(CURVE, void_below=threshold, share_prior=share_prior)
    assert (found == plain).all()
    assert ((found == 255) == (confidence < np.float16(threshold))).mean() > 0.99
    assert 0 < (found == 255).mean() < 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slope": 0.0}, "slope 0.0 of a calibration"),
        ({"slope": -1.0}, "slope -1.0 of a calibration"),
        ({"slope": float("nan")}, "slope nan of a calibration"),
        ({"shift": 1e9}, "shift 1000000000.0 of a calibration"),
    ],
)
def test_numbers_that_no_curve_has_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Curve(**{"slope": 1.0, "shift": 0.0, **values})
