from dataclasses import replace

import numpy as np
import pytest

from escnet.segmentation import Segmentation

sv = pytest.importorskip("supervision", reason="supervision is not installed here")

from escnet.bridges.supervision import to_detections  # noqa: E402


def test_detections_hold_the_label_map(results: list[Segmentation]) -> None:
    for result in results:
        detections = to_detections(result)
        labels = np.full(result.label_map.shape, 255)
        for mask, label in zip(detections.mask, detections.class_id, strict=True):
            labels[mask] = label
        np.testing.assert_array_equal(labels, result.label_map)
        names = [result.names[label] for label in detections.class_id]
        assert detections.data["class_name"].tolist() == names
        np.testing.assert_allclose(detections.confidence, 0.75, atol=1e-3)


def test_one_detection_covers_a_connected_region_if_asked(results: list[Segmentation]) -> None:
    by_region = to_detections(results[0], per="region")
    assert len(by_region) > len(to_detections(results[0]))
    assert by_region.mask.sum() == (results[0].label_map != 255).sum()


def test_nothing_found_is_an_empty_detections(results: list[Segmentation]) -> None:
    nothing = replace(results[2], label_map=np.full_like(results[2].label_map, 255))
    assert len(to_detections(nothing)) == 0


def test_annotators_draw_them(results: list[Segmentation]) -> None:
    result = results[0]
    detections = to_detections(result)
    drawn = sv.MaskAnnotator(opacity=1.0).annotate(result.picture.copy(), detections)
    changed = (drawn != result.picture).any(axis=2)
    assert changed[result.label_map != 255].mean() > 0.9
    assert not changed[result.label_map == 255].any()
    labels = [str(name) for name in detections.data["class_name"]]
    assert sv.LabelAnnotator().annotate(result.picture.copy(), detections, labels).any()
