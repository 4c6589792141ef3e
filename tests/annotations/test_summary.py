import json

import numpy as np
import pytest

from escnet.annotations import summary
from escnet.annotations.summary import label_counts, mean_confidences, summarise

LABELS = np.array([[0, 0, 2], [255, 0, 2]], dtype=np.uint8)
CONFIDENCE = np.array([[0.9, 0.6, 0.5], [0.1, 0.3, 0.7]], dtype=np.float32)


def test_counts_of_a_hand_counted_map() -> None:
    assert label_counts(LABELS, 3).tolist() == [3, 0, 2, 1]


def test_mean_confidences_of_a_hand_computed_map() -> None:
    means = mean_confidences(LABELS, CONFIDENCE, 3)
    assert means[[0, 2]].tolist() == pytest.approx([0.6, 0.6])
    assert np.isnan(means[1])


def test_counting_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, (50, 37)).astype(np.uint16)
    confidence = rng.random((50, 37), dtype=np.float32)
    whole = label_counts(labels, 7), mean_confidences(labels, confidence, 7)
    monkeypatch.setattr(summary, "_BLOCK", 100)
    blocks = label_counts(labels, 7), mean_confidences(labels, confidence, 7)
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other)
    assert whole[0].tolist() == [*(int((labels == i).sum()) for i in range(7)), (labels > 6).sum()]


def test_the_summary_is_plain_json_and_its_shares_sum_to_one() -> None:
    content = summarise(
        LABELS,
        CONFIDENCE,
        ["sky", "sea", "sand"],
        void_label=255,
        model="m",
        weights_hash="h",
        settings={"template": "a {}"},
        presence=np.array([0.75, np.nan, 0.5], np.float32),
    )
    content = json.loads(json.dumps(content))
    assert content["format"] == 1
    assert (content["height"], content["width"]) == (2, 3)
    assert content["void"] == {"label": 255, "share": pytest.approx(1 / 6, abs=1e-6)}
    assert [entry["name"] for entry in content["names"]] == ["sky", "sea", "sand"]
    assert content["names"][1] == {
        "index": 1,
        "name": "sea",
        "share": 0.0,
        "mean_confidence": None,
        "presence": None,
    }
    assert content["names"][0]["presence"] == 0.75
    total = sum(entry["share"] for entry in content["names"]) + content["void"]["share"]
    assert total == pytest.approx(1, abs=1e-5)
    assert content["settings"] == {"template": "a {}"}
