import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from escnet.evaluation.metrics import count_picture
from escnet.evaluation.records import PictureRecord
from escnet.evaluation.reliability import NUM_BINS, Reliability


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Confidences of 5,000 pixels, and which are right: less often than they say."""
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0, 1, 5_000).astype(np.float32)
    return confidence, generator.uniform(0, 1, 5_000) < confidence**2


def test_the_calibration_error_of_a_hand_computed_case() -> None:
    """Two pixels of 0.9 of which one is right, two of 0.1 of which none is."""
    found = Reliability.of(np.array([0.9, 0.9, 0.1, 0.1]), np.array([True, False, False, False]))
    assert found.calibration_error == pytest.approx((2 * 0.4 + 2 * 0.1) / 4, abs=1e-4)
    low, high = found.bins
    assert (low.pixels, low.accuracy) == (2, 0.0)
    assert (high.pixels, high.accuracy) == (2, 0.5)
    assert high.confidence == pytest.approx(0.9, abs=1e-4)


def test_the_calibration_error_is_that_of_torchmetrics(
    answers: tuple[np.ndarray, np.ndarray],
) -> None:
    confidence, is_right = answers
    expected = binary_calibration_error(
        torch.from_numpy(confidence), torch.from_numpy(is_right).int(), n_bins=NUM_BINS
    )
    found = Reliability.of(confidence, is_right).calibration_error
    assert found == pytest.approx(float(expected), abs=1e-4)


def test_parts_add_up_to_the_whole_in_any_order(answers: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, is_right = answers
    whole = Reliability.of(confidence, is_right)
    parts = [Reliability.of(confidence[i::3], is_right[i::3]) for i in range(3)]
    assert (parts[2] + parts[0] + parts[1]).as_lists() == whole.as_lists()


def test_full_confidence_is_in_the_last_bin() -> None:
    found = Reliability.of(np.array([1.0], np.float16), np.array([True]))
    assert found.pixels[-1] == 1
    assert found.calibration_error == 0


def test_without_a_pixel_there_is_no_error() -> None:
    assert np.isnan(Reliability().calibration_error)
    assert Reliability().bins == []


@pytest.mark.parametrize(
    "change",
    [{"pixels": [1] * 14}, {"right": [2] * NUM_BINS}, {"confidence": [-1] * NUM_BINS}],
)
def test_lists_that_cannot_be_counts_are_refused(change: dict[str, list[int]]) -> None:
    lists = {"pixels": [1] * NUM_BINS, "right": [1] * NUM_BINS, "confidence": [1] * NUM_BINS}
    with pytest.raises(ValueError, match=r"no 15 whole numbers|more right"):
        Reliability.from_lists(lists | change)


def test_a_record_keeps_the_reliability_of_its_picture(
    answers: tuple[np.ndarray, np.ndarray],
) -> None:
    classes = np.array([[0, 1]])
    record = PictureRecord(
        stem="one",
        counts=count_picture(classes, classes, num_classes=2, ignore_label=255),
        reliability=Reliability.of(*answers),
    )
    read = PictureRecord.from_table(json.loads(record.to_line()), num_classes=2)
    assert read.reliability is not None
    assert read.reliability.as_lists() == Reliability.of(*answers).as_lists()
