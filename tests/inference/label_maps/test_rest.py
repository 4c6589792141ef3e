import numpy as np
import pytest

from escnet.errors import ConfigError
from escnet.inference.label_maps.labelling import label_pixels
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.label_maps.rest import Rest, RestRule, logit

RULE = RestRule(present_from=0.9, pixel_from=0.3)
SIZE_HW = (1, 4)


def logits_of(*probabilities: list[float]) -> np.ndarray:
    return np.array([[[logit(p) for p in row]] for row in probabilities], np.float32)


def rest_where(named: list[float], contrast: list[float], num_surfaces: int = 0) -> Rest:
    return RULE.for_picture(logits_of(named), logits_of(contrast), num_surfaces)


STRICT = Rest(RULE.pixel_from, RULE.present_from)


def test_names_that_leave_much_to_contrast_names_are_judged_strictly() -> None:
    assert rest_where([0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.9]) == STRICT


def test_names_that_explain_the_picture_are_all_taken_to_be_there() -> None:
    assert rest_where([0.6, 0.6, 0.6, 0.6], [0.1, 0.1, 0.1, 0.1]).present_from == 0


def test_a_list_with_several_kinds_of_stuff_need_explain_less_and_loses_less() -> None:
    floors = []
    for num_surfaces in (1, 2, 3, 4):
        rest = rest_where([0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.1, 0.9], num_surfaces)
        assert (rest == STRICT) == (num_surfaces < 2)  # 0.98 less 0.15 for each: 0.75 is enough
        floors.append(rest.floor)
    assert floors == sorted(floors, reverse=True)
    assert floors[-1] == RULE.least


def test_where_nothing_is_left_to_contrast_with_the_names_are_all() -> None:
    named = logits_of([0.1, 0.1])
    assert RULE.for_picture(named, named[:0], 0).present_from == 0


def test_a_name_that_the_picture_is_nowhere_sure_of_is_not_there() -> None:
    # The second is likelier than not in all of the picture, and never sure.
    logits = logits_of([0.95, 0.4, 0.2, 0.1], [0.6, 0.8, 0.8, 0.8])
    label_map, _ = label_pixels(logits, [0, 1], 2, SIZE_HW, rest=STRICT)
    assert label_map.tolist() == [[0, 0, 2, 2]]
    label_map, _ = label_pixels(logits, [0, 1], 2, SIZE_HW, rest=Rest(0.3))
    assert label_map.tolist() == [[0, 1, 1, 1]]


def test_synonyms_are_sure_together() -> None:
    logits = logits_of([0.95, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.4])
    label_map, _ = label_pixels(logits, [0, 0], 1, SIZE_HW, rest=STRICT)
    assert label_map.tolist() == [[0, 1, 1, 0]]


def test_the_odds_of_the_rest_are_even_at_the_floor() -> None:
    best = np.array([0.0, 0.1, 0.3, 1.0], np.float32)
    np.testing.assert_allclose(Rest(0.5).probability(best), 1 - best, rtol=1e-6)
    np.testing.assert_allclose(Rest(0.3).probability(best), [1, 0.794118, 0.5, 0], rtol=1e-5)


def test_the_rest_is_surer_where_names_are_less_likely_present_or_not() -> None:
    logits = logits_of([0.89, 0.6, 0.3, 0.01])  # never sure
    label_map, confidence = label_pixels(logits, [0], 1, SIZE_HW, rest=STRICT)
    assert (label_map == 1).all()
    assert (np.diff(confidence[0].astype(float)) > 0).all()
    assert (confidence >= 0.5).all()
    assert (confidence <= 1).all()


@pytest.mark.parametrize(("floor", "void_below", "expected"), [
    (0.3, 0.1, [0, 0, 1, 1]),  # nothing of so low a probability is left
    (0.3, 0.5, [0, 255, 1, 1]),
    (0.002, 0.1, [0, 0, 255, 1]),  # a lower threshold than the rule's own has its meaning
    (0.002, 0.5, [0, 255, 255, 1]),
    (0.3, 0.9, [255, 255, 255, 1]),  # the rest is void, too, where it is unsure
])  # fmt: skip
def test_a_threshold_for_void_comes_after_the_rest(
    floor: float, void_below: float, expected: list[int]
) -> None:
    logits = logits_of([0.8, 0.4, 0.05, 0.0001])
    label_map, _ = label_pixels(logits, [0], 1, SIZE_HW, rest=Rest(floor), void_below=void_below)
    assert label_map.tolist() == [expected]


@pytest.mark.parametrize("rest", [Rest(), Rest(0.3, 0.9), Rest(0.002)])
def test_permuting_the_labels_permutes_the_label_map(rest: Rest) -> None:
    logits = np.random.default_rng(0).normal(scale=3, size=(4, 5, 6)).astype(np.float32)
    order = [2, 0, 3, 1]
    label_map, confidence = label_pixels(logits, [0, 1, 2, 3], 4, (20, 24), rest=rest)
    permuted, same = label_pixels(logits[order], [0, 1, 2, 3], 4, (20, 24), rest=rest)
    assert (np.array([*order, 4])[permuted] == label_map).all()
    assert (same == confidence).all()


def test_what_is_judged_absent_is_below_the_floor_everywhere() -> None:
    logits = logits_of([0.95, 0.2], [0.89, 0.001])
    assert STRICT.present(logits).tolist() == [True, False]
    judged = STRICT.judged(logits, STRICT.present(logits))
    assert (judged[0] == logits[0]).all()
    assert (sigmoid(judged[1]) < STRICT.floor).all()
    assert (judged[1] < logits[1]).all()


def test_a_rule_of_numbers_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="rest has no number 'covers': choose from relative_from"):
        RestRule.of({"covers": 0.9})
    for name, value in (("cover", 1.5), ("least", -0.1), ("present_from", 1.0), ("margin", -1.0)):
        with pytest.raises(ConfigError, match=f"rest {name} .* is not a number between 0 and"):
            RestRule.of({name: value})
    with pytest.raises(ConfigError, match=r"pixel_from 0\.4, present_from 0\.2 are not in order"):
        RestRule.of({"present_from": 0.2})
    assert RestRule.of({"cover": 0.5}).as_settings()["cover"] == 0.5


def test_single_sure_places_do_not_make_a_name_present_and_are_no_specks_of_it() -> None:
    logits = np.full((1, 40, 50), logit(0.2), np.float32)
    logits[0, 20, 20] = logit(0.97)
    assert (label_pixels(logits, [0], 1, (40, 50), rest=STRICT)[0] == 1).all()
    logits[0, 20:22, 20:23] = logit(0.97)
    assert (label_pixels(logits, [0], 1, (40, 50), rest=STRICT)[0] == 0).sum() == 6
