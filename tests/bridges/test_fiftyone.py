from pathlib import Path

import numpy as np
import pytest

from escnet.annotations.format import FormatOptions
from escnet.segmentation import Segmentation, save_all

fo = pytest.importorskip("fiftyone", reason="fiftyone is not installed here")


def test_a_segmentation_s_mask_path_reads_grey_label_maps_as_indices(
    results: list[Segmentation], tmp_path: Path
) -> None:
    for result in results:
        path = result.save(tmp_path, formats=["grey"])["grey"]
        label = fo.Segmentation(mask_path=str(path))
        np.testing.assert_array_equal(label.get_mask(), result.label_map)


def test_16_bits_are_read_as_indices_too(tmp_path: Path, results: list[Segmentation]) -> None:
    from dataclasses import replace

    wide = replace(
        results[0],
        label_map=results[0].label_map.astype(np.uint16) * 200,
        names=tuple(f"n{i}" for i in range(60_000)),
    )
    path = wide.save(tmp_path, formats=["grey"])["grey"]
    np.testing.assert_array_equal(fo.Segmentation(mask_path=str(path)).get_mask(), wide.label_map)


def test_coco_s_importer_takes_the_whole_folder(
    results: list[Segmentation], tmp_path: Path
) -> None:
    import fiftyone.utils.coco as fouc

    save_all(results, tmp_path, ["coco"], options=FormatOptions(shape="rle"))
    document = fouc.load_coco_detection_annotations(
        str(tmp_path / "coco" / "instances.json"), extra_attrs=True
    )
    _, classes, _, images, annotations = document
    names = list(classes.values()) if isinstance(classes, dict) else classes
    assert "wooden table" in names
    for number, result in enumerate(results, 1):
        assert images[number]["file_name"] == f"{result.stem}.jpg"
        label_map = np.full(result.label_map.shape, 255)
        height, width = result.label_map.shape
        for item in annotations[number]:
            detection = item.to_detection((width, height), classes, load_segmentation=True)
            left, top, *_ = detection.bounding_box
            x, y = round(left * width), round(top * height)
            mask = detection.mask
            window = label_map[y : y + mask.shape[0], x : x + mask.shape[1]]
            window[mask.astype(bool)] = result.names.index(detection.label)
        np.testing.assert_array_equal(label_map, result.label_map)
