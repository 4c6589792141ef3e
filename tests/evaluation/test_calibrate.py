import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.classification import binary_auroc

from escnet.data.folder import FolderDataset
from escnet.errors import DatasetError
from escnet.evaluation.calibrate import (
    PictureAnswers,
    SourceFit,
    ask_pictures,
    auroc,
    calibration_targets,
    doubts_of,
    fit_calibration,
    logistic_regression,
    spread,
)
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.options import SegmentOptions
from tests.colour_method import colour_labels, colour_picture, colour_segmenter


def answers(num_names: int, number: int, source: str) -> list[PictureAnswers]:
    """Of a model whose logits are twice too large, and off by a shift."""
    random = np.random.default_rng(num_names)
    found = []
    for _ in range(number):
        logit = random.normal(1, 3, 4000)
        is_right = random.uniform(0, 1, 4000) < sigmoid(0.5 * logit + 0.5)
        peak = random.normal(0, 2, num_names)
        found.append(
            PictureAnswers(
                source=source,
                probability=sigmoid(logit).astype(np.float16),
                is_right=is_right,
                peak=sigmoid(peak).astype(np.float32),
                is_present=random.uniform(0, 1, num_names) < sigmoid(2 * peak - 1),
            )
        )
    return found


def test_a_fit_finds_temperature_and_shift() -> None:
    segmenter = colour_segmenter()
    few, many = answers(2, 8, "few"), answers(50, 6, "many")
    calibration, fits = fit_calibration([*few, *many], segmenter, SegmentOptions())
    found = calibration.confidence
    assert (found.slope, found.shift) == pytest.approx((0.5, 0.5), abs=0.05)
    assert calibration.fitted_to == {"few": 8, "many": 6}
    assert calibration.weights_hash == segmenter.weights_hash
    assert [fit.source for fit in fits] == ["few", "many"]
    assert all(fit.before > 0.08 and fit.after < 0.02 for fit in fits)


def test_a_logistic_regression_of_four_cases_by_hand() -> None:
    """Of two equal pixels one is right, of two others two thirds of three are."""
    features = np.array([[0.0, 1], [0, 1], [1, 1], [1, 1], [1, 1]])
    weight = logistic_regression(features, np.array([True, False, True, True, False]))
    np.testing.assert_allclose(
        sigmoid(features @ weight), [0.5, 0.5, 2 / 3, 2 / 3, 2 / 3], atol=1e-3
    )


def test_presence_is_fitted_as_well() -> None:
    many = answers(400, 12, "many")
    calibration, (fit,) = fit_calibration(many, colour_segmenter(), SegmentOptions())
    curve = calibration.presence
    assert (curve.slope, curve.shift) == pytest.approx((2, -1), abs=0.2)
    assert fit.presence_after < 0.03
    assert 0.9 < fit.auroc < 1


def test_the_auroc_of_hand_computed_cases_and_of_torchmetrics() -> None:
    """Of the first six pairs five are in order and one is even; of the second six four."""
    score = np.array([0.9, 0.5, 0.2, 0.5, 0.1])
    assert auroc(score, np.array([True, True, False, False, False])) == pytest.approx(5.5 / 6)
    assert auroc(score, np.array([True, False, True, False, False])) == pytest.approx(4 / 6)
    random = np.random.default_rng(0)
    score, is_so = random.integers(0, 40, 500) / 40, random.uniform(0, 1, 500) < 0.3
    expected = binary_auroc(torch.from_numpy(score), torch.from_numpy(is_so).int())
    assert auroc(score, is_so) == pytest.approx(float(expected), abs=1e-6)


def test_pixels_that_are_all_right_make_no_number_infinite() -> None:
    sure = np.full(3, 0.9, np.float32)
    one = PictureAnswers("easy", sure.astype(np.float16), np.ones(3, bool), sure, np.ones(3, bool))
    calibration, (fit,) = fit_calibration([one] * 4, colour_segmenter(), SegmentOptions())
    assert np.isnan(fit.auroc)
    assert 0.95 < calibration.confidence.of(np.array([0.9], np.float32))[0] < 1


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(DatasetError, match="3 pictures with a labelled pixel"):
        fit_calibration(answers(2, 3, "few"), colour_segmenter(), SegmentOptions())


def test_pictures_are_spread_over_a_source() -> None:
    assert spread(list("abcdefghi"), 3) == ["a", "e", "i"]
    assert spread(list("abc"), None) == list("abc") == spread(list("abc"), 9)


@pytest.fixture
def dataset(tmp_path: Path) -> FolderDataset:
    """One picture asked for three of four names, a fifth of it unlabelled, and one for a single."""
    table = {
        "classes": ["red", "white", "green", "blue"],
        "sources": {"all": {"annotated": [0, 2, 3]}, "one": {"annotated": [0]}},
    }
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    (tmp_path / "classes.json").write_text(json.dumps(table))
    labels = np.array([0, 2, 3], np.uint8)[colour_labels()]
    labels[:3] = 3  # wrong: the picture is red there
    labels[-6:] = 255
    for stem in ("all__1", "one__1"):
        Image.fromarray(colour_picture()).save(tmp_path / "images" / f"{stem}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{stem}.png")
    return FolderDataset.read(tmp_path)


def test_each_source_is_asked_for_what_it_annotates(dataset: FolderDataset) -> None:
    (target,) = calibration_targets(dataset)  # a single name is always right
    (found,) = ask_pictures(colour_segmenter(), target, target.items, SegmentOptions())
    assert found.source == "all"
    assert found.is_right.sum() == 21 * 40
    assert found.is_right.size == 24 * 40
    assert found.is_present.tolist() == [True] * 3
    assert (found.peak > 0.99).all()


def test_pictures_without_a_truth_are_left_out(dataset: FolderDataset) -> None:
    (target,) = calibration_targets(dataset)
    nothing = [
        replace(item, read=lambda _: np.full((30, 40), target.ignore_label, np.uint8))
        for item in target.items
    ]
    seen: list[int] = []
    found = ask_pictures(
        colour_segmenter(), target, nothing, SegmentOptions(), on_picture=lambda: seen.append(1)
    )
    assert list(found) == []
    assert len(seen) == 1


def test_few_pictures_and_an_error_that_rises_are_doubts() -> None:
    fit = SourceFit("street", 30, before=0.2, after=0.1, presence_after=0.1, auroc=0.9)
    assert doubts_of([fit]) == []
    worse = fit._replace(num_pictures=29, before=0.05)
    assert doubts_of([worse]) == [
        "fitted to 29 pictures, which are few: give a hundred or more",
        "the calibration error of street rises from 5.0% to 10.0%",
    ]
