import numpy as np
import pytest

from escnet.evaluation.bootstrap import PictureTable, intervals, resampled_weights
from escnet.evaluation.metrics import (
    SCORES,
    PictureCounts,
    SeenClasses,
    count_picture,
    scores_of,
)


def pictures(num_pictures: int = 12) -> list[PictureCounts]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(num_pictures):
        truth = random.integers(4, size=(20, 20))
        noise = random.integers(4, size=truth.shape)
        prediction = np.where(random.random(truth.shape) < random.random(), truth, noise)
        found.append(count_picture(truth, prediction, num_classes=4, ignore_label=255))
    return found


def test_the_sums_of_a_table_are_those_of_its_pictures() -> None:
    parts = pictures(3)
    table = PictureTable(parts, 4)
    expected = 2 * parts[0].sums(4) + parts[2].sums(4)
    np.testing.assert_array_equal(table.sums(np.array([[2.0, 0, 1]]))[0], expected)


def test_resamples_draw_as_many_pictures_as_there_are() -> None:
    weights = np.concatenate(list(resampled_weights(7, num_resamples=100)))
    assert weights.shape == (100, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.max() > 1


def test_the_intervals_agree_with_resampling_by_a_slow_loop() -> None:
    parts = pictures()
    found = intervals(PictureTable(parts, 4), num_resamples=1000)
    random = np.random.default_rng(1)  # other draws, the same distribution
    values = []
    for _ in range(1000):
        chosen = random.integers(len(parts), size=len(parts))
        sums = np.sum([parts[index].sums(4) for index in chosen], axis=0)
        values.append(float(scores_of(sums)["miou_in_truth"]))
    assert found["miou_in_truth"] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.02)


def test_the_interval_holds_the_score_and_repeats_with_its_seed() -> None:
    table = PictureTable(pictures(), 4)
    score = float(scores_of(table.sums(np.ones((1, 12))))["pixel_accuracy"][0])
    found = intervals(table)
    low, high = found["pixel_accuracy"]
    assert low < score < high
    assert intervals(table) == found
    assert intervals(table, seed=1) != found


def test_equal_pictures_leave_no_doubt() -> None:
    low, high = intervals(PictureTable(pictures(1) * 5, 4))["boundary_iou"]
    assert low == pytest.approx(high)


def test_only_scores_that_are_defined_have_an_interval() -> None:
    table = PictureTable(pictures(), 4)
    assert "miou_seen" not in intervals(table)
    is_seen = np.array([True, False, False, True])
    seen = SeenClasses(is_seen, ~is_seen)
    assert {"miou_seen", "miou_unseen"} < intervals(table, seen).keys()
    assert intervals(table).keys() < set(SCORES)
    assert intervals(PictureTable([], 4)) == {}
